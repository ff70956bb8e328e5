"""`fcit evaluate` and `fcit ask`: what they print, true exit codes, errors without a trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from saved_runs import make_saved_run
from tiny_llava import QUESTIONS, toy_picture
from toy_folder import make_root, write_json

from fcit_app import cli
from fcit_app.commands.terminal import printable
from fcit_app.config import flatten, parse
from fcit_app.evaluate.predictor import Predictor
from fcit_app.runs import RunFolder


def fcit(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["fcit", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    toy_picture(1).save(path)
    return path


@pytest.fixture(scope="module")
def finetuned(tiny_folder, tmp_path_factory):
    return make_saved_run(tiny_folder, tmp_path_factory.mktemp("run") / "f", method="finetune")


@pytest.fixture
def without_bank(tmp_path) -> Path:
    config = parse({"method": "blind", "out": str(tmp_path / "blind")})
    return RunFolder.create(tmp_path / "blind", flatten(config), {}).path


def test_a_table_beside_the_runs_own_numbers(saved_disco, monkeypatch, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--activation", "softmax,concat", "--scoring", "paper,official", "--out", out]
    assert fcit(monkeypatch, "evaluate", saved_disco.path, *options) == 0
    printed = capsys.readouterr().out
    last = saved_disco.read_result().last
    assert "disco · after stage 2, round 1 · test samples" in printed
    for column in ("softmax", "concat", "paper", "official", "in the run"):
        assert column in printed
    assert printed.count("Predictions: ") == 2
    (mean,) = [line for line in printed.splitlines() if "mean" in line]
    assert mean.count(f" {last:.2f} ") >= 2
    for path in [line for line in printed.splitlines() if line.startswith("Predictions: ")]:
        assert Path(path.removeprefix("Predictions: ")).is_file()


def test_json_is_all_there_is_on_standard_output(saved_disco, monkeypatch, tmp_path, capsys):
    options = ["--json", "--split", "validation", "--tasks", "figureqa", "--out", tmp_path / "o"]
    assert fcit(monkeypatch, "evaluate", saved_disco.path, *options) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["method"], told["stage"], told["split"]) == ("disco", 2, "validation")
    assert told["subspaces"] == [0, 1]
    (scores,) = told["scores"]
    (task,) = scores["tasks"]
    assert (task["task"], task["questions"]) == ("figureqa", 8)
    assert scores["mean"] == task["accuracy"]
    assert Path(scores["predictions"]).is_file()


def test_a_private_task_is_asked_where_its_samples_are(saved_disco, monkeypatch, tmp_path, capsys):
    ask = ["evaluate", saved_disco.path, "--tasks", "private/x,figureqa", "--out", tmp_path / "o"]
    assert fcit(monkeypatch, *ask) == 2
    told = capsys.readouterr().err
    assert "--tasks: 'private/x' has no test samples here" in told
    assert "--set data.root=FOLDER" in told
    root = make_root(tmp_path / "data", ["figureqa"], train=2, test=2)
    given = ["--set", f"data.root={root}", "--json"]
    assert fcit(monkeypatch, *ask, *given) == 2
    assert f"would be in {root}/private/x/test.json" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setattr("fcit_app.data.folder.benchmark.GENERATION_LENGTH", 3)
    talk = [{"from": "human", "value": "Which letter?"}, {"from": "gpt", "value": "B"}]
    write_json(root / "private/x/test.json", [{"conversations": talk}])
    assert fcit(monkeypatch, *ask, *given) == 0
    (scores,) = json.loads(capsys.readouterr().out)["scores"]
    assert [(task["task"], task["questions"]) for task in scores["tasks"]] == [
        ("private/x", 1),
        ("figureqa", 2),
    ]


def test_predictions_are_part_of_the_run_folder(saved_disco, monkeypatch, tmp_path):
    """So that `fcit run --force` can still replace it."""
    copy = shutil.copytree(saved_disco.path, tmp_path / "run")
    assert fcit(monkeypatch, "evaluate", copy, "--tasks", "figureqa") == 0
    assert len(list((copy / "evaluation").glob("test-softmax-*/predictions.jsonl"))) == 1
    from fcit_app.runs import replacing

    with replacing(copy):
        assert not copy.exists()


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_made(
    saved_disco, monkeypatch, tmp_path, capsys
):
    out = tmp_path / "out"
    wrong = ["--tasks", "figureq", "--activation", "softmx", "--split", "train"]
    wrong += ["--scoring", "offical"]
    assignments = ["--set", "train.rank=4", "--set", "identity.temperature=0"]
    assert fcit(monkeypatch, "evaluate", saved_disco.path, *wrong, *assignments, "--out", out) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "6 problems in the configuration" in told
    assert "Did you mean 'figureqa'?" in told
    assert "Did you mean 'softmax'?" in told
    assert "Did you mean 'official'?" in told
    assert "train.rank: cannot be changed" in told
    gone = ["--set", f"data.root={tmp_path / 'gone'}"]
    assert fcit(monkeypatch, "evaluate", saved_disco.path, *gone, "--out", out) == 2
    assert str(tmp_path / "gone") in capsys.readouterr().err
    assert not out.exists()
    file = tmp_path / "file"
    file.touch()
    options = ["--tasks", "figureqa", "--out", file]
    assert fcit(monkeypatch, "evaluate", saved_disco.path, *options) == 2
    assert "cannot be written" in " ".join(capsys.readouterr().err.split())


def test_activation_means_nothing_to_a_bank_without_tokens(finetuned, monkeypatch, capsys):
    assert fcit(monkeypatch, "evaluate", finetuned.path, "--activation", "argmax,concat") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "--activation: cannot be set for method finetune" in told


def test_stopped_by_a_signal(saved_disco, monkeypatch, tmp_path, capsys):
    predict, out = Predictor.predict, tmp_path / "out"

    def stopped(self, batch):
        os.kill(os.getpid(), signal.SIGTERM)
        return predict(self, batch)

    monkeypatch.setattr(Predictor, "predict", stopped)
    assert fcit(monkeypatch, "evaluate", saved_disco.path, "--out", out) == 143
    assert "the same command goes on from there" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", ["evaluate", "ask"])
def test_a_run_without_a_bank(command, without_bank, picture, monkeypatch, capsys):
    options = ["--image", picture, "why?"] if command == "ask" else []
    assert fcit(monkeypatch, command, without_bank, *options) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "is a run of method blind, which keeps no bank" in told


def test_an_answer_with_who_spoke(saved_disco, picture, monkeypatch, capsys):
    arguments = ["ask", saved_disco.path, "--image", picture, QUESTIONS[0], "--each"]
    assert fcit(monkeypatch, *arguments, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert sum(voice["weight"] for voice in told["subspaces"]) == pytest.approx(1)
    assert told["subspaces"][0]["weight"] >= told["subspaces"][1]["weight"]
    assert {tuple(voice["tasks"]) for voice in told["subspaces"]} == {
        ("imagenet-r",),
        ("figureqa",),
    }
    assert all(isinstance(voice["alone"], str) for voice in told["subspaces"])
    assert fcit(monkeypatch, *arguments, "--top", "1") == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"Answer: {printable(told['answer'])}\n")
    assert "1 more subspace is not shown" in printed
    assert f"{told['subspaces'][0]['weight']:.3f}" in printed


def test_each_alone_is_what_the_bank_says_with_that_one_only(saved_disco, picture, tmp_path):
    from fcit_app.evaluate.question import ask
    from fcit_app.evaluate.saved_run import open_saved_run

    run = open_saved_run(saved_disco.path)
    alone = ask(run, picture, QUESTIONS[0], each=True).alone
    best = open_saved_run(saved_disco.path, {"activation": "argmax"})
    reply = ask(best, picture, QUESTIONS[0])
    assert reply.weights is not None
    (loudest,) = [number for number, weight in reply.weights.items() if weight == 1]
    assert reply.answer == alone[loudest]


def test_a_terminal_is_not_made_to_obey_an_answer():
    assert printable("a\x1b[31mb\r\n") == "a\ufffd[31mb\ufffd\ufffd"
    assert printable("naïve [0.1, 0.2] “x”") == "naïve [0.1, 0.2] “x”"


def test_an_answer_of_one_adapter(finetuned, picture, monkeypatch, capsys):
    assert fcit(monkeypatch, "ask", finetuned.path, "--image", picture, "How many?", "--each") == 0
    printed = capsys.readouterr().out
    assert "Method finetune answers every question with one adapter." in printed
    assert "weight" not in printed


def test_a_question_without_a_picture(saved_disco, monkeypatch, capsys):
    assert fcit(monkeypatch, "ask", saved_disco.path, QUESTIONS[0], "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["image"] is None
    assert sum(voice["weight"] for voice in told["subspaces"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("image", "question", "told"),
    [
        ("gone.png", "why?", "There is no picture"),
        ("torn.png", "why?", "cannot be read"),
        ("picture.png", "what is <image>?", "Leave <image> out"),
        ("picture.png", " ", "The question is empty"),
        ("picture.png", "why? " * 2000, "Shorten it"),
    ],
)
def test_questions_that_cannot_be_asked(
    image, question, told, saved_disco, picture, monkeypatch, capsys
):
    (picture.parent / "torn.png").write_bytes(picture.read_bytes()[:60])
    arguments = ["--image", picture.parent / image, question]
    assert fcit(monkeypatch, "ask", saved_disco.path, *arguments) == 2
    assert told in " ".join(capsys.readouterr().err.split())
