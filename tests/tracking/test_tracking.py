"""Curves are what the ledger says, whoever draws them and whenever."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from fcit_app import cli
from fcit_app.config import flatten, parse
from fcit_app.errors import ConfigError
from fcit_app.preflight import foreseen
from fcit_app.runs import RunFolder, describe_environment
from fcit_app.tracking import PACKAGES, Scalars, track_all, tracked

STAGES = {"stages": ["dvqa", "figureqa"], "rounds": 2}


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", flatten(parse({})), describe_environment())


def play_round(folder: RunFolder, stage: int, number: int, loss: float) -> None:
    where = {"stage": stage, "round": number}
    folder.ledger.record("round-started", **where, participants=[0, 1, 2])
    folder.ledger.record("client-replied", **where, client=0, loss=loss)
    folder.ledger.record("client-replied", **where, client=2, loss=loss + 1.0)
    folder.ledger.record("client-rejected", **where, client=1, reason="not finite")
    folder.ledger.record(
        "round-finished", **where, seconds={"train": 2.0, "wait": 0.5}, bytes={"up": 10, "down": 20}
    )


def play(folder: RunFolder) -> None:
    folder.ledger.record("run-started", method="disco", **STAGES, clients=3)
    play_round(folder, 1, 1, 0.5)
    play_round(folder, 1, 2, 0.25)
    folder.ledger.record("stage-evaluated", stage=1, tasks=["dvqa"], accuracy=[80.0])
    play_round(folder, 2, 1, 0.75)


def finish(folder: RunFolder) -> None:
    play_round(folder, 2, 2, 0.5)
    folder.ledger.record(
        "stage-evaluated", stage=2, tasks=["dvqa", "figureqa"], accuracy=[70.0, 90.0]
    )
    folder.ledger.record("run-finished", last=80.0, avg=80.0)


def curves(folder: RunFolder) -> dict[str, list[tuple[int, float]]]:
    """All of TensorBoard's curves, as its own reader gives them."""
    read = EventAccumulator(str(folder.path / "tracking" / "tensorboard"))
    read.Reload()
    return {
        name: [(point.step, point.value) for point in read.Scalars(name)]
        for name in read.Tags()["scalars"]
    }


def wait_for(true, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_points_of_a_run(folder):
    play(folder)
    finish(folder)
    scalars = Scalars()
    points = [point for event in folder.ledger.read() for point in scalars.of(event)]
    by_name: dict[str, list[tuple[int, float]]] = {}
    for point in points:
        by_name.setdefault(point.name, []).append((point.step, point.value))
    assert by_name["round/loss, mean over clients"] == [(1, 1.0), (2, 0.75), (3, 1.25), (4, 1.0)]
    assert by_name["loss of a client/2"][-1] == (4, 1.5)
    assert by_name["round/replies refused"] == [(step, 1.0) for step in (1, 2, 3, 4)]
    assert by_name["accuracy of a task/dvqa"] == [(2, 80.0), (4, 70.0)]
    assert by_name["accuracy/mean over tasks seen"] == [(2, 80.0), (4, 80.0)]
    assert by_name["bytes/down"][0] == (1, 20.0)
    assert by_name["result/Last"] == [(4, 80.0)]
    assert [point.step for point in points] == sorted(point.step for point in points)


def test_what_was_done_again_is_drawn_once(folder):
    play(folder)
    begun = len(folder.ledger.read())
    folder.ledger.record(
        "run-resumed", **STAGES, stage=1, round=2, step="evaluated", events=begun - 5
    )
    play_round(folder, 2, 1, 0.125)
    finish(folder)
    _, points = track_all(folder, "tensorboard")
    drawn = curves(folder)
    assert drawn["loss of a client/0"] == [(1, 0.5), (2, 0.25), (3, 0.125), (4, 0.5)]
    assert sum(map(len, drawn.values())) == points


def test_while_it_works_and_afterwards_the_same_curves(folder):
    with tracked(folder, "tensorboard"):
        play(folder)
        wait_for((folder.path / "tracking" / "tensorboard").is_dir)
        finish(folder)
    live = curves(folder)
    track_all(folder, "tensorboard")
    assert live == curves(folder)
    assert live["accuracy of a task/figureqa"] == [(4, 90.0)]


def test_a_run_that_goes_on_is_drawn_from_its_beginning(folder):
    with tracked(folder, "tensorboard"):
        play(folder)
    done = len(folder.ledger.read())
    with tracked(folder, "tensorboard"):
        folder.ledger.record("run-resumed", **STAGES, stage=2, round=1, step="trained", events=done)
        finish(folder)
    assert [step for step, _ in curves(folder)["loss of a client/0"]] == [1, 2, 3, 4]


def test_an_error_of_the_tracker_does_not_touch_the_run(folder, monkeypatch, caplog):
    def broken(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("fcit_app.tracking.tensorboard.TensorBoardTracker.add", broken)
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)
    with tracked(folder, "tensorboard"):
        play(folder)
        wait_for(lambda: "no space left on device" in caplog.text)
    assert "does not track this run any more" in caplog.text


def test_weights_and_biases_stays_on_the_machine(folder):
    """In a process of its own, as it is used: its service belongs to the process."""
    play(folder)
    finish(folder)
    done = subprocess.run(
        [sys.executable, "-m", "fcit_app.cli", "track", str(folder.path), "--to", "wandb"],
        env={**os.environ, "WANDB_MODE": "online"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "wandb sync" in done.stdout
    kept = list((folder.path / "tracking" / "wandb").rglob("*.wandb"))
    assert [path.parent.name.split("-")[0] for path in kept] == ["offline"]
    wait_for(lambda: b"accuracy of a task/figureqa" in kept[0].read_bytes(), 60.0)
    assert b"identity.tau" in kept[0].read_bytes()


def test_the_command_says_where_to_look(folder):
    play(folder)
    shown = CliRunner().invoke(cli.app, ["track", str(folder.path)])
    assert shown.exit_code == 0, shown.output
    assert f"tensorboard --logdir {folder.path}" in shown.output
    with pytest.raises(ConfigError, match="allowed: tensorboard, wandb"):
        CliRunner().invoke(
            cli.app, ["track", str(folder.path), "--to", "mlflow"], catch_exceptions=False
        )


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_missing_package_is_told_before_the_run(name, monkeypatch):
    values = flatten(parse({"tracking": name}))
    assert foreseen(values) == []
    monkeypatch.setattr("fcit_app.tracking.tracker.find_spec", lambda _: None)
    (problem,) = foreseen(values)
    assert f"pip install 'fcit-disco[{name}]'" in problem


def test_nothing_is_tracked_unasked(folder):
    with tracked(folder, "none"):
        play(folder)
    assert not (folder.path / "tracking").exists()
