"""Zero-shot, blind and centralized: run from the ServerApp and without it."""

from __future__ import annotations

import pytest
from app_runs import run_config, serve
from in_process_grid import InProcessGrid

from client_app.app import app as client_app
from fcit_app.config import flatten, parse
from fcit_app.data.load import load_benchmark
from fcit_app.errors import DataError
from fcit_app.evaluate.evaluator import Evaluator
from fcit_app.model.adapters import is_adapter
from fcit_app.model.bank import Bank
from fcit_app.model.base import load_base
from fcit_app.model.vision import VisionFeatures
from fcit_app.reference import run_reference
from fcit_app.reference.blind import blind, controls, exchange_pictures
from fcit_app.reference.tuning import steps_in_a_row, steps_per_stage, tune
from fcit_app.runs import RunFolder
from fcit_app.runs.progress import RunProgress

TASKS = ["imagenet-r", "figureqa"]
METHODS = ["zero-shot", "blind", "centralized"]


def run_alone(config):
    settings = parse(config)
    folder = RunFolder.create(config["out"], flatten(settings), {})
    assert run_reference(settings, folder) == folder.read_result().model_dump()
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_a_reference_leaves_the_folder_of_a_run(tiny_folder, tmp_path, method):
    grid = InProcessGrid(client_app, 0)
    served = serve(run_config(tiny_folder, tmp_path / "served", method=method), grid)
    assert grid.sent == []
    alone = run_alone(run_config(tiny_folder, tmp_path / "alone", method=method))
    assert served.read_result().accuracy == alone.read_result().accuracy
    for folder in (served, alone):
        names = {entry.name for entry in folder.path.iterdir()}
        assert {"config.json", "environment.json", "result.json"} <= names
        result = folder.read_result()
        assert (result.method, result.tasks) == (method, TASKS)
        (row,) = result.accuracy
        assert result.last == pytest.approx(sum(row) / 2)
        assert (result.avg, result.backward_transfer, result.forgetting) == (None, None, None)
        assert (result.aggregator, result.scenario, result.beta) == (None, None, None)
        assert result.subspaces is None
        assert result.zero_shot == (row if method == "zero-shot" else None)
        assert result.seconds.total > 0
    page = (served.path / "report.html").read_text()
    assert f"<td>{result.last:.1f}</td>" in page
    assert "<td>–</td>" in page


@pytest.mark.parametrize("method", METHODS)
def test_the_ledger_is_what_progress_expects(tiny_folder, tmp_path, method):
    folder = run_alone(run_config(tiny_folder, tmp_path / "run", method=method))
    ledger = folder.ledger.read()
    assert [event["event"] for event in ledger] == [
        "run-started",
        "evaluate-progress",
        "evaluate-progress",
        "stage-evaluated",
        "run-finished",
    ]
    progress = RunProgress()
    lines = [progress.consume(event) for event in ledger]
    assert progress.finished
    assert lines[1] == f"stage 1/1 {method} · evaluated imagenet-r · 1/2"
    assert set(ledger[-1]["seconds"]) == {"train", "aggregate", "evaluate", "total"}


def test_zero_shot_is_what_a_federated_run_starts_from(tiny_folder, tmp_path):
    plain = run_alone(run_config(tiny_folder, tmp_path / "plain", method="zero-shot"))
    federated = serve(run_config(tiny_folder, tmp_path / "disco"))
    assert federated.read_result().zero_shot == plain.read_result().zero_shot


def test_a_failure_is_told_in_the_ledger_and_leaves_no_result(tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", method="blind", data__test_samples=1)
    with pytest.raises(DataError, match=r"Raise .*data\.test-samples to 2"):
        run_alone(config)
    folder = RunFolder(tmp_path / "run")
    last = folder.ledger.read()[-1]
    assert last["event"] == "run-failed"
    assert "data.test-samples" in last["reason"]
    assert not (folder.path / "result.json").exists()
    assert not (folder.path / "report.html").exists()


@pytest.fixture
def config(tiny_folder, tmp_path):
    return parse(run_config(tiny_folder, tmp_path, data__test_samples=12))


@pytest.mark.parametrize("count", [2, 3, 12])
def test_the_blind_control_exchanges_every_picture(config, count):
    samples = load_benchmark(config).test_samples("figureqa")[:count]
    exchanged = exchange_pictures(samples, seed=3)
    places = []
    for before, after in zip(samples, exchanged, strict=True):
        assert (after.task, after.question, after.answer) == (
            before.task,
            before.question,
            before.answer,
        )
        assert after.picture is not before.picture
        places.append(next(i for i, s in enumerate(samples) if s.picture is after.picture))
    assert sorted(places) == list(range(count))
    assert exchange_pictures(samples, seed=3) == exchanged
    names = {sample.identifier for sample in samples} | {s.identifier for s in exchanged}
    assert len(names) == 2 * count


def test_no_cache_mixes_a_picture_up_with_the_exchanged_one(config, tiny_folder):
    samples = load_benchmark(config).test_samples("figureqa")
    exchanged = exchange_pictures(samples, seed=0)
    vision = VisionFeatures(load_base(str(tiny_folder)))
    own, others = vision.of(samples), vision.of(exchanged)
    assert (own != others).any()
    fresh = VisionFeatures(load_base(str(tiny_folder)))
    assert (fresh.of(exchanged) == others).all()


def test_the_blind_row_is_the_strictest_control(config):
    benchmark = load_benchmark(config)
    evaluator = Evaluator(config, benchmark)
    asked = benchmark.test_samples("figureqa")
    seeing, found = controls(evaluator, benchmark.training_samples("figureqa"), asked, 2)
    assert set(found) == {"exchanged", "trained blind", "majority"}
    assert len(seeing.subspaces) == 1
    answers = [sample.answer for sample in asked]
    most = max(answers.count(answer) for answer in answers)
    assert found["majority"] == pytest.approx(100 * most / len(answers))


def test_blind_gives_the_same_numbers_in_one_process_and_in_several(config, monkeypatch):
    benchmark, told = load_benchmark(config), []
    alone = blind(config, benchmark, TASKS, lambda task, number: told.append((task, number)))
    assert told == list(zip(TASKS, (1, 2), strict=True))
    monkeypatch.setattr("fcit_app.reference.blind._WORTH_PROCESSES", 1)
    shared = blind(config, benchmark, TASKS, lambda task, number: None)
    assert shared == alone


def test_tuning_trains_and_leaves_the_base_as_it_was(config):
    benchmark = load_benchmark(config)
    evaluator = Evaluator(config, benchmark)
    samples = benchmark.training_samples("figureqa")
    before = {n: p.clone() for n, p in evaluator.base.model.named_parameters()}
    bank = tune(evaluator, config, samples, 2, "a")
    for name, parameter in evaluator.base.model.named_parameters():
        assert (parameter == before[name]).all(), name
    (subspace,) = bank.subspaces
    assert subspace.token is None
    assert all(map(is_adapter, subspace.adapter))
    assert not any(map(is_adapter, bank.projector))
    again = tune(evaluator, config, samples, 2, "a").subspaces[0].adapter
    other = tune(evaluator, config, samples, 2, "b").subspaces[0].adapter
    assert all((again[name] == array).all() for name, array in subspace.adapter.items())
    assert any((other[name] != array).any() for name, array in subspace.adapter.items())
    frozen = config.model_copy(update={"projector": "frozen"})
    assert tune(evaluator, frozen, samples, 1, "a").projector is None


def test_references_take_the_federations_number_of_steps(config):
    changes = {"rounds": 3, "clients_per_round": 2}
    changed = config.model_copy(update=changes)
    assert steps_per_stage(changed) == 3 * 2 * config.train.steps
    assert steps_in_a_row(changed) == 3 * config.train.steps


def test_after_a_reference_the_plain_base_answers_as_before(config):
    benchmark = load_benchmark(config)
    evaluator = Evaluator(config, benchmark)
    plain = evaluator.accuracy(Bank(), TASKS)
    tune(evaluator, config, benchmark.training_samples("figureqa"), 2, "a")
    assert evaluator.accuracy(Bank(), TASKS) == plain
