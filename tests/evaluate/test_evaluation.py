"""A saved bank answers as its run did; work that is stopped goes on, and nothing is mixed."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from app_runs import run_config
from saved_runs import ODD, make_saved_run
from tiny_llava import toy_picture
from toy_banks import fingerprint

from fcit_app.config import FEDERATED_METHODS, parse
from fcit_app.data.folder.defects import BadRecordError
from fcit_app.errors import ConfigError, FcitError, RunFolderError
from fcit_app.evaluate import predictors
from fcit_app.evaluate.evaluation import BankScores, evaluate_saved
from fcit_app.evaluate.predictor import Predictor
from fcit_app.evaluate.question import ask
from fcit_app.evaluate.saved_run import open_saved_run
from fcit_app.model.activation import Activation
from fcit_app.model.bank import Bank
from fcit_app.model.base import load_base
from fcit_app.runs import RunFolder, read_analysis


def evaluate(
    path: Path, out: Path, activations: tuple[Activation, ...] = ("softmax",), **changes: Any
) -> list[BankScores]:
    run = open_saved_run(path, {k.replace("__", "."): v for k, v in changes.items()})
    return evaluate_saved(run, run.tasks, "test", activations, out)


def kept(scores: BankScores) -> bytes:
    return (scores.folder / "predictions.jsonl").read_bytes()


@pytest.mark.parametrize("method", [*FEDERATED_METHODS, "odd"])
def test_the_answer_is_the_runs_own_to_the_digit(
    method: str, tiny_folder: Path, tmp_path: Path
) -> None:
    changes = ODD if method == "odd" else {"method": method}
    folder = make_saved_run(tiny_folder, tmp_path / "run", **changes)
    before = fingerprint(load_base(str(tiny_folder)).model)
    (found,) = evaluate(folder.path, tmp_path / "out")
    assert fingerprint(load_base(str(tiny_folder)).model) == before
    result = folder.read_result()
    assert result.accuracy is not None
    assert [score.accuracy for score in found.scores] == result.accuracy[-1]
    assert found.mean == result.last
    analysis = read_analysis(folder.path)
    assert analysis is not None
    rows = analysis.stages[-1].activation
    if rows is None:
        assert method not in ("disco", "odd")
        assert [score.activation for score in found.scores] == [None, None]
        return
    for score, row in zip(found.scores, rows, strict=True):
        assert score.activation is not None
        assert list(score.activation.weights) == row.weights
        assert score.activation.entropy == row.entropy
        assert len(row.weights) == 2


def test_a_line_tells_all_about_a_question(saved_disco: RunFolder, tmp_path: Path) -> None:
    (found,) = evaluate(saved_disco.path, tmp_path)
    lines = [json.loads(line) for line in kept(found).splitlines()]
    assert len(lines) == 16
    assert list(lines[0]) == [
        *("identifier", "task", "question", "answer", "reference", "right", "weights"),
        "references",
    ]
    assert all(list(line["right"]) == ["paper", "official"] for line in lines)
    assert list(lines[0]["weights"]) == ["0", "1"]
    assert sum(lines[0]["weights"].values()) == pytest.approx(1)
    assert [line["task"] for line in lines] == ["imagenet-r"] * 8 + ["figureqa"] * 8
    assert [int(line["identifier"].split("/")[-1]) for line in lines] == [*range(8)] * 2
    setting = json.loads((found.folder / "setting.json").read_text())
    assert (setting["stage"], setting["round"], setting["split"]) == (2, 1, "test")
    assert json.loads((found.folder / "scores-paper.json").read_text()) == json.loads(
        json.dumps(found.as_dict())
    )


@pytest.mark.parametrize("method", ["l2p", "o-lora"])
def test_a_question_to_a_bank_that_is_not_routed(
    method: str, tiny_folder: Path, tmp_path: Path
) -> None:
    run = open_saved_run(make_saved_run(tiny_folder, tmp_path / "run", method=method).path)
    toy_picture(1).save(tmp_path / "picture.png")
    reply = ask(run, tmp_path / "picture.png", "How many?", each=True)
    assert reply.weights is None
    assert list(reply.alone) == [subspace.identifier for subspace in run.bank.subspaces]
    assert len(reply.alone) == (1 if method == "l2p" else 2)


@pytest.mark.parametrize("torn", [False, True])
def test_a_stopped_evaluation_goes_on_from_what_is_answered(
    torn: bool, saved_disco: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = evaluate(saved_disco.path, tmp_path / "whole")
    batches: list[int] = []
    predict = Predictor.predict

    def dies(self: Predictor, batch: Any) -> Any:
        if len(batches) == 4:
            raise KeyboardInterrupt
        batches.append(len(batch.places))
        return predict(self, batch)

    monkeypatch.setattr(Predictor, "predict", dies)
    with pytest.raises(KeyboardInterrupt):
        evaluate(saved_disco.path, tmp_path / "out")
    (file,) = (tmp_path / "out").rglob("predictions.jsonl")
    assert len(file.read_bytes().splitlines()) == sum(batches)
    if torn:  # in the middle of the fourth batch's last line: the whole batch is asked again
        file.write_bytes(file.read_bytes()[:-9])
    done = sum(batches[:3] if torn else batches)
    batches[:] = [0, 0]  # two may follow

    def counted(self: Predictor, batch: Any) -> Any:
        batches.append(len(batch.places))
        return predict(self, batch)

    monkeypatch.setattr(Predictor, "predict", counted)
    (again,) = evaluate(saved_disco.path, tmp_path / "out")
    assert sum(batches) == 16 - done
    assert kept(again) == kept(whole)
    assert again.scores == whole.scores
    batches.clear()
    monkeypatch.setattr(predictors, "Predictor", None)  # all is there: no model is needed
    assert evaluate(saved_disco.path, tmp_path / "out") == [again]


def test_processes_make_no_difference(saved_disco: RunFolder, tmp_path: Path) -> None:
    """One batch, so that one real worker is started: that takes most of this file's time."""
    run = open_saved_run(saved_disco.path, {"evaluate.batch-size": 8})
    one, two = (
        evaluate_saved(run, ("figureqa",), "test", ("softmax",), tmp_path / str(n), n)[0]
        for n in (1, 2)
    )
    assert one.scores == two.scores
    assert kept(one) == kept(two)


def test_workers_tell_errors_that_cannot_be_pickled() -> None:
    error = BadRecordError("no-image", "its picture is missing.")
    with pytest.raises(FcitError, match="its picture is missing") as caught, predictors.told():
        raise error
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(error)


def test_another_setting_split_or_bank_begins_anew_beside(
    saved_disco: RunFolder, tmp_path: Path
) -> None:
    activations: tuple[Activation, ...] = ("softmax", "argmax", "cosine", "concat")
    columns = evaluate(saved_disco.path, tmp_path / "out", activations)
    assert [found.activation for found in columns] == list(activations)
    warm = evaluate(saved_disco.path, tmp_path / "out", identity__temperature=1.0)
    other = shutil.copytree(saved_disco.path, tmp_path / "other")
    arrays, meta = saved_disco.load_state()
    arrays["subspace-000/token"] = arrays["subspace-000/token"] * 2
    RunFolder(other).save_state(arrays, meta)
    changed = evaluate(other, tmp_path / "out")
    run = open_saved_run(saved_disco.path)
    validation = evaluate_saved(run, run.tasks, "validation", ("softmax",), tmp_path / "out")
    folders = [found.folder for found in (*columns, *warm, *changed, *validation)]
    assert len(set(folders)) == 7
    assert [asdict(s) for s in columns[0].scores] != [asdict(s) for s in warm[0].scores]
    assert b"/validation/" in kept(validation[0])


def test_another_scoring_is_computed_from_the_same_predictions(
    saved_disco: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (paper,) = evaluate(saved_disco.path, tmp_path)
    before = kept(paper)
    monkeypatch.setattr(predictors, "Predictor", None)  # no model is needed
    (official,) = evaluate(saved_disco.path, tmp_path, evaluate__scoring="official")
    assert (official.folder, kept(official)) == (paper.folder, before)
    assert [score.metric for score in paper.scores] == ["exact", "exact"]
    assert [score.metric for score in official.scores] == ["exact", "substring"]
    for scores in (paper, official):
        lines = [json.loads(line) for line in kept(scores).splitlines()]
        right = [line["right"][scores.scoring] for line in lines if line["task"] == "figureqa"]
        assert scores.scores[1].accuracy == 100.0 * sum(right) / 8
    run = open_saved_run(saved_disco.path)
    both = evaluate_saved(
        run, run.tasks, "test", ("softmax",), tmp_path, scorings=("paper", "official")
    )
    assert both == [paper, official]
    written = {path.name for path in paper.folder.iterdir()}
    assert written >= {"scores-paper.json", "scores-official.json"}


def test_more_tasks_are_added_to_those_that_are_answered(
    saved_disco: RunFolder, tmp_path: Path
) -> None:
    run = open_saved_run(saved_disco.path)
    for tasks in (("figureqa",), ("imagenet-r",), ("figureqa", "imagenet-r")):
        (found,) = evaluate_saved(run, tasks, "test", ("softmax",), tmp_path / "out")
        assert [score.task for score in found.scores] == list(tasks)
    (whole,) = evaluate(saved_disco.path, tmp_path / "whole")
    assert kept(found) == kept(whole)
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_predictions_that_are_not_of_these_samples_are_asked_again(
    saved_disco: RunFolder, tmp_path: Path
) -> None:
    (found,) = evaluate(saved_disco.path, tmp_path)
    right = kept(found)
    file = found.folder / "predictions.jsonl"
    lines = [json.loads(line) for line in right.splitlines()]
    lines[3]["question"] = "something else?"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluate(saved_disco.path, tmp_path)
    assert file.read_bytes() == right
    file.write_bytes(b"{torn\n" + right)
    with pytest.raises(RunFolderError, match=r"line 1 is damaged.*Delete the file"):
        evaluate(saved_disco.path, tmp_path)


def test_only_settings_of_inference_may_be_changed(saved_disco: RunFolder) -> None:
    with pytest.raises(ConfigError) as caught:
        open_saved_run(saved_disco.path, {"train.rank": 3, "sed": 1, "activation": "x", "seed": 2})
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 4
    assert "train.rank: cannot be changed, since the run's bank was made with 2" in told
    assert "allowed: activation, identity.temperature, identity.open-world" in told
    assert "Did you mean 'seed'?" in told
    assert "activation: 'x' is not allowed" in told


def test_a_run_without_a_bank_is_told(
    tiny_folder: Path, tmp_path: Path, saved_disco: RunFolder
) -> None:
    from fcit_app.config import flatten

    def folder(name: str, **changes: Any) -> Path:
        config = parse(run_config(tiny_folder, tmp_path / name, **changes))
        return RunFolder.create(tmp_path / name, flatten(config), {}).path

    with pytest.raises(RunFolderError, match="method zero-shot, which keeps no bank"):
        open_saved_run(folder("zero", method="zero-shot"))
    with pytest.raises(RunFolderError, match="has no bank yet"):
        open_saved_run(folder("begun"))
    started = RunFolder(folder("started"))
    bank, facts = Bank().to_arrays()
    started.save_state(bank, {"stage": 0, "round": 0, "bank": facts})
    with pytest.raises(RunFolderError, match="has no bank yet"):
        open_saved_run(started.path)
    with pytest.raises(RunFolderError, match="not a run folder"):
        open_saved_run(tmp_path)
    with pytest.raises(ConfigError, match="activation: cannot be set for method finetune"):
        finetuned = folder("finetune", method="finetune")
        arrays, meta = saved_disco.load_state()
        adapter = {k: a for k, a in arrays.items() if k.startswith("subspace-000/adapter")}
        facts = {"identifier": 0, "count": None, "first-stage": 1}
        bank = {**meta["bank"], "subspaces": [facts], "projector": False}
        RunFolder(finetuned).save_state(adapter, {**meta, "bank": bank})
        open_saved_run(finetuned, {"activation": "argmax"})
