"""Whole runs in this process: the real ServerApp, loop, strategies, ClientApp and training."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from app_runs import events, run_config, serve
from flwr.app import Array, ArrayRecord
from in_process_grid import InProcessGrid

from client_app.app import app as client_app
from fcit_app.config import parse
from fcit_app.data.load import load_benchmark
from fcit_app.data.stages import client_samples, make_stages
from fcit_app.errors import RunError
from fcit_app.model.bank import Bank
from fcit_app.runs import RunFolder
from fcit_app.runs.progress import RunProgress
from server_app.sampling import draw_slots

FIELDS = {
    "run-started": {"stages", "rounds", "clients", "method", "columns"},
    "stage-started": {"stage", "tasks"},
    "round-started": {"stage", "round", "participants"},
    "client-replied": {
        "stage",
        "round",
        "client",
        "subspace",
        "loss",
        "examples",
        "seconds",
        "bytes",
        "bytes-down",
    },
    "clients-matched": {"stage", "round", "clients"},
    "round-finished": {"stage", "round", "seconds", "bytes"},
    "evaluate-progress": {"stage", "task", "done", "total"},
    "stage-evaluated": {"stage", "tasks", "accuracy", "seconds"},
    "bank-hashed": {"stage", "subspaces", "projector"},
    "run-finished": {"last", "avg", "seconds", "bytes", "quarantined"},
    "note": {"text"},
}
TASKS = ["imagenet-r", "figureqa"]
# Three participants: the order of two summands makes no difference even to floats.
ROUNDS = {"rounds": 2, "clients_per_round": 3}


@pytest.fixture(scope="module")
def finished(tiny_folder, tmp_path_factory):
    """One run of each federated method."""
    folders = {}
    for method in ("disco", "finetune"):
        out = tmp_path_factory.mktemp("run") / method
        folders[method] = serve(run_config(tiny_folder, out, method=method, **ROUNDS))
    return folders


def bits(folder):
    arrays, meta = folder.load_state()
    return {name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()}, meta["bank"]


def clients_of(folder):
    """Clients that took part in each stage."""
    config = parse(folder.read_config())
    return [
        {
            client
            for number in range(1, config.rounds + 1)
            for client in draw_slots(
                range(5), config.clients_per_round, config.seed, stage.number, number
            )
        }
        for stage in make_stages(config)
    ]


def samples_of(folder, stage):
    """Training samples in a stage of every client that took part in it, by task."""
    config = parse(folder.read_config())
    benchmark, chosen = load_benchmark(config), make_stages(config)[stage - 1]
    return Counter(
        sample.task
        for client in clients_of(folder)[stage - 1]
        for sample in client_samples(benchmark, config, chosen, client, 5)
    )


@pytest.mark.parametrize("method", ["disco", "finetune"])
def test_the_folder_is_complete(finished, method):
    folder = finished[method]
    names = {entry.name for entry in folder.path.iterdir()}
    assert names == {
        "analysis.json",
        "config.json",
        "environment.json",
        "ledger.jsonl",
        "report.html",
        "result.json",
        "state",
        *(["tokens"] if method == "disco" else []),
    }
    assert {entry.name for entry in (folder.path / "state").iterdir()} == {
        "previous.safetensors",
        "round.json",
        "round.safetensors",
    }


@pytest.mark.parametrize("method", ["disco", "finetune"])
def test_the_result_is_complete(finished, method):
    result = finished[method].read_result()
    assert result.method == method
    assert result.aggregator == "fedavg"
    assert result.tasks == TASKS
    assert [len(row) for row in result.accuracy] == [1, 2]
    assert len(result.zero_shot) == 2
    numbers = (result.last, result.avg, result.backward_transfer, result.forgetting)
    assert None not in numbers
    assert all(value > 0 for value in (result.seconds.train, result.seconds.evaluate))
    assert result.seconds.total >= result.seconds.train + result.seconds.evaluate
    # What goes up beside the arrays that went down: one token a stage and client.
    asked = [len(stage) for stage in clients_of(finished[method])] if method == "disco" else []
    token = ArrayRecord({"total": Array(np.zeros(1024, np.float32))}).count_bytes()
    assert result.bytes.up == result.bytes.down + token * sum(asked)
    assert result.bytes.down > 0
    rounds = [event["bytes"] for event in events(finished[method], "round-finished")]
    assert sum(entry["up"] for entry in rounds) == result.bytes.up


def test_disco_keeps_one_subspace_per_task(finished):
    folder = finished["disco"]
    subspaces = folder.read_result().subspaces
    assert [(s.id, s.first_stage, list(s.task_counts)) for s in subspaces] == [
        (0, 1, ["imagenet-r"]),
        (1, 2, ["figureqa"]),
    ]
    _, meta = folder.load_state()
    for stage, subspace in enumerate(subspaces, start=1):
        expected = samples_of(folder, stage).total()
        assert subspace.samples == expected
        assert meta["bank"]["subspaces"][stage - 1]["count"] == expected


def test_finetune_keeps_one_adapter_for_all(finished):
    folder = finished["finetune"]
    (only,) = folder.read_result().subspaces
    assert only.task_counts == {
        task: samples_of(folder, stage)[task] for stage, task in enumerate(TASKS, start=1)
    }


@pytest.mark.parametrize("method", ["disco", "finetune"])
def test_the_ledger_tells_every_round_as_progress_expects_it(finished, method):
    ledger = finished[method].ledger.read()
    for event in ledger:
        assert set(event) == {"time", "event"} | FIELDS[event["event"]], event
    places = [(stage, number) for stage in (1, 2) for number in (1, 2)]
    for kind in ("round-started", "round-finished"):
        told = [(e["stage"], e["round"]) for e in ledger if e["event"] == kind]
        assert told == places
    replied = [e for e in ledger if e["event"] == "client-replied"]
    started = [e for e in ledger if e["event"] == "round-started"]
    for event in started:
        place = (event["stage"], event["round"])
        here = [e["client"] for e in replied if (e["stage"], e["round"]) == place]
        assert sorted(here) == event["participants"]
    progress = RunProgress()
    lines = [progress.consume(event) for event in ledger]
    assert progress.finished
    assert progress.fraction(ledger[-1]["time"]) == 1.0
    assert all(line for event, line in zip(ledger, lines, strict=True) if "round" in event)


@pytest.mark.parametrize("method", ["disco", "finetune"])
def test_the_phases_of_the_rounds_add_up(finished, method):
    folder = finished[method]
    rounds = events(folder, "round-finished")
    starts = events(folder, "round-started")
    for start, end in zip(starts, rounds, strict=True):
        phases = end["seconds"]
        assert set(phases) == {"configure", "train", "wait", "guard", "aggregate", "save"}
        assert all(value >= 0 for value in phases.values())
        assert sum(phases.values()) == pytest.approx(end["time"] - start["time"], abs=0.05)
    result = folder.read_result()
    trained = sum(event["seconds"]["train"] for event in rounds)
    assert result.seconds.train == pytest.approx(trained, abs=1e-3)
    assert result.bytes.up == sum(event["bytes"]["up"] for event in rounds)
    assert result.bytes.down == sum(event["bytes"]["down"] for event in rounds)
    notes = [event["text"] for event in events(folder, "note")]
    assert any(text.startswith("outside client training: ") for text in notes)


@pytest.mark.parametrize("method", ["disco", "finetune"])
def test_the_report_shows_the_numbers(finished, method):
    folder = finished[method]
    page = (folder.path / "report.html").read_text()
    result = folder.read_result()
    for value in (*result.accuracy[-1], result.last, result.avg, result.backward_transfer):
        assert f"<td>{value:.1f}</td>" in page
    for task in TASKS:
        assert task in page


def test_the_state_is_saved_after_every_round_and_evaluation(tiny_folder, tmp_path, monkeypatch):
    saved = []
    save = RunFolder.save_state

    def spy(self, arrays, meta):
        save(self, arrays, meta)
        _, loaded = self.load_state()
        done = len(events(self, "round-finished"))
        place = (loaded["stage"], loaded["round"], loaded["step"])
        saved.append((*place, len(loaded["accuracy"]), done))

    monkeypatch.setattr(RunFolder, "save_state", spy)
    serve(run_config(tiny_folder, tmp_path / "run", rounds=2))
    assert saved == [
        (1, 1, "round", 0, 0),
        (1, 2, "round", 0, 1),
        (1, 2, "evaluated", 1, 2),
        (2, 1, "round", 1, 2),
        (2, 2, "round", 1, 3),
        (2, 2, "evaluated", 2, 4),
    ]


@pytest.mark.parametrize("method", ["disco", "finetune"])
def test_neither_repeating_nor_reordering_changes_a_bit(finished, tiny_folder, tmp_path, method):
    expected = finished[method]
    config = run_config(tiny_folder, tmp_path / "again", method=method, **ROUNDS)
    again = serve(config)
    config = {**config, "out": str(tmp_path / "shuffled")}
    grid = InProcessGrid(
        client_app,
        [3, 1, 0, 4, 2],
        nodes=[77, 5, 923, 12, 400],
        reorder=lambda replies: sorted(replies, key=lambda r: -r.metadata.src_node_id),
        run_config=config,
    )
    shuffled = serve(config, grid)
    for other in (again, shuffled):
        assert bits(other) == bits(expected)
        assert other.read_result().accuracy == expected.read_result().accuracy


def test_another_seed_is_another_run(finished, tiny_folder, tmp_path):
    other = serve(run_config(tiny_folder, tmp_path / "run", seed=1, **ROUNDS))
    assert bits(other) != bits(finished["disco"])


def test_another_order_of_tasks(tiny_folder, tmp_path):
    order = "figureqa,ocr-vqa,imagenet-r"
    result = serve(run_config(tiny_folder, tmp_path / "run", tasks=order)).read_result()
    assert result.tasks == order.split(",")
    assert [len(row) for row in result.accuracy] == [1, 2, 3]
    assert [list(s.task_counts) for s in result.subspaces] == [[task] for task in result.tasks]


def test_a_capability_stage_pools_its_tasks(tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", setting="capability", tasks="chart,math")
    folder = serve(config)
    result = folder.read_result()
    assert [len(row) for row in result.accuracy] == [3, 6]
    assert result.tasks[:3] == ["arxivqa", "figureqa", "dvqa"]
    found = Counter()
    for subspace in result.subspaces:
        assert subspace.samples == sum(subspace.task_counts.values())
        found.update(subspace.task_counts)
    assert found == samples_of(folder, 1) + samples_of(folder, 2)
    assert set(found) == set(result.tasks)


def test_a_frozen_projector_stays_the_bases_own(tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", projector="frozen")
    arrays, meta = serve(config).load_state()
    assert not any(name.startswith("projector/") for name in arrays)
    assert meta["bank"]["projector"] is False


def test_training_changes_what_is_kept(finished):
    arrays, _ = finished["disco"].load_state()
    halves = [array for name, array in arrays.items() if name.endswith("lora_B.weight")]
    assert halves
    assert all(np.abs(half).max() > 0 for half in halves)


def test_a_run_with_prototypes_tokens_of_both_and_projectors_of_their_own(tiny_folder, tmp_path):
    settings = {
        "setting": "capability",
        "tasks": "general,math",
        "projector": "per-subspace",
        "identity.token": "text+image",
        "identity.prototypes": 2,
    }
    folder = serve({**run_config(tiny_folder, tmp_path / "run"), **settings})
    arrays, meta = folder.load_state()
    bank = Bank.from_arrays(arrays, meta["bank"])
    assert events(folder, "client-rejected") == []
    assert len(bank.subspaces) >= 1
    for subspace in bank.subspaces:
        assert subspace.token.total.size == 1024 + 32
        subspace.token.validate()
        assert 1 <= len(subspace.token.prototypes) <= 4
        assert subspace.projector.keys() == bank.projector.keys()
        assert any(
            not np.array_equal(subspace.projector[name], array)
            for name, array in bank.projector.items()
        )
    assert folder.read_result().last is not None


def test_a_run_that_diverges_says_so(tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", method="finetune", train__lr=1e30)
    with pytest.raises(RunError, match=r"(?s)none of the participants.*diverged"):
        serve(config)
    assert not (tmp_path / "run" / "result.json").exists()
