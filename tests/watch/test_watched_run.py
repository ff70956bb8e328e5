"""Who looks on sees what the ledger says, and is never in the run's way."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fcit_app import cli
from fcit_app.config import flatten, parse
from fcit_app.errors import RunFolderError
from fcit_app.runs import RunFolder, describe_environment, locked
from fcit_app.runs.lock import NAME as LOCK
from fcit_app.runs.lock import is_held
from fcit_app.watch import WatchedRun
from fcit_app.watch.view import curve, draw, state_in_words

STAGES = {"stages": ["dvqa", "figureqa"], "rounds": 2, "clients": 3}


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", flatten(parse({})), describe_environment())


def begin(folder: RunFolder) -> None:
    """Two clients train in the first round of the first stage."""
    folder.ledger.record("run-started", method="disco", **STAGES)
    folder.ledger.record("stage-started", stage=1, tasks=["dvqa"])
    folder.ledger.record("round-started", stage=1, round=1, participants=[0, 2])


def reply(folder: RunFolder, client: int, loss: float = 0.5) -> None:
    facts = {"stage": 1, "round": 1, "client": client, "subspace": 4, "loss": loss}
    folder.ledger.record("client-replied", **facts, seconds=1.5)


def looked_at(folder: RunFolder) -> WatchedRun:
    run = WatchedRun(folder.path)
    run.update()
    return run


def text_of(run: WatchedRun, width: int = 120) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(draw(run, run.updated))
    return text.getvalue()


def test_a_round_from_its_beginning_to_its_end(folder):
    begin(folder)
    run = looked_at(folder)
    assert [run.clients[c].doing for c in (0, 1, 2)] == ["trains", "not drawn", "trains"]
    folder.ledger.record(
        "waiting", stage=1, round=1, clients=[2], seconds=30, left=60, then="the round goes on"
    )
    reply(folder, 0)
    run.update()
    assert [run.clients[c].doing for c in (0, 2)] == ["delivered", "late"]
    assert (run.clients[0].subspace, run.clients[0].losses) == (4, [0.5])
    folder.ledger.record("client-rejected", stage=1, round=1, client=2, reason="no reply in 90 s")
    folder.ledger.record("client-benched", stage=1, round=1, client=2, strikes=3)
    folder.ledger.record("round-started", stage=1, round=2, participants=[0, 1])
    run.update()
    assert [run.clients[c].doing for c in (0, 1, 2)] == ["trains", "trains", "benched"]
    assert run.clients[2].refused == 1
    shown = text_of(run)
    for said in ("round 2/2", "no reply in 90 s", "benched", "0.500"):
        assert said in shown


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_any_terminal(folder, width):
    begin(folder)
    reply(folder, 0)
    folder.ledger.record("stage-evaluated", stage=1, accuracy=[80.0])
    assert max(len(line.rstrip()) for line in text_of(looked_at(folder), width).split("\n")) <= (
        width
    )


def test_looking_now_and_then_and_looking_once_show_the_same(folder):
    step_by_step = WatchedRun(folder.path)
    for action in (lambda: begin(folder), lambda: reply(folder, 0), lambda: reply(folder, 2, 0.25)):
        action()
        step_by_step.update()
    assert text_of(step_by_step) == text_of(looked_at(folder))


def test_a_line_that_is_still_being_written_waits(folder):
    begin(folder)
    with folder.ledger.path.open("a") as file:
        file.write('{"time": 1, "event": "client-re')
        file.flush()
        run = looked_at(folder)
        assert run.clients[0].doing == "trains"
        file.write('plied", "client": 0}\n')
    run.update()
    assert run.clients[0].doing == "delivered"


def test_a_resumed_run_forgets_the_accuracies_of_work_that_is_done_again(folder):
    begin(folder)
    folder.ledger.record("stage-evaluated", stage=1, accuracy=[80.0, 60.0])
    folder.ledger.record("run-resumed", **STAGES, stage=1, round=1, step="trained", events=3)
    run = looked_at(folder)
    assert run.accuracy == {}
    assert {state.doing for state in run.clients.values()} == {"not drawn"}
    folder.ledger.record("stage-evaluated", stage=1, accuracy=[70.0])
    run.update()
    assert run.accuracy == {1: 70.0}
    assert run.name_of(1) == "dvqa"


def test_another_run_in_the_same_folder_begins_anew(folder):
    begin(folder)
    run = looked_at(folder)
    folder.ledger.path.rename(folder.path / "old")
    folder.ledger.record("run-started", method="disco", stages=["dvqa"], rounds=1, clients=1)
    run.update()
    assert list(run.clients) == [0]


def test_a_folder_without_events_yet(folder):
    run = looked_at(folder)
    assert "starting" in state_in_words(run, 0.0) or run.alive is False
    assert run.clients == {}


@pytest.mark.parametrize(
    ("losses", "drawn"), [([], ""), ([1.0], "▁"), ([1.0, 1.0], "▁▁"), ([8.0, 1.0, 4.5], "█▁▅")]
)
def test_loss_curves(losses, drawn):
    assert curve(losses) == drawn


def test_whether_a_run_lives(folder):
    assert is_held(folder.path) is False
    with locked(folder.path, "run"):
        assert is_held(folder.path) is True
        assert (folder.path / LOCK).is_file(), "looking takes nothing away"
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    lock = folder.path / LOCK
    lock.write_text(f"process {done.pid} on {socket.gethostname()}: run\n")
    assert is_held(folder.path) is False
    lock.write_text(f"process {os.getpid()} on {socket.gethostname()}-elsewhere: run\n")
    assert is_held(folder.path) is None
    lock.write_text("")
    assert is_held(folder.path) is False


def test_the_command_looks_once_and_says_how_to_go_on(folder):
    begin(folder)
    before = {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}
    shown = CliRunner().invoke(cli.app, ["watch", str(folder.path), "--once"])
    assert shown.exit_code == 1  # no process works at it
    assert "no process works at this run any more" in shown.output
    assert "--resume" in shown.output
    assert {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()} == before
    with locked(folder.path, "run"):
        assert CliRunner().invoke(cli.app, ["watch", str(folder.path), "--once"]).exit_code == 0
    folder.ledger.record("run-finished", last=88.0, avg=90.0)
    shown = CliRunner().invoke(cli.app, ["watch", str(folder.path)])
    assert (shown.exit_code, "Last 88.0" in shown.output) == (0, True)


def test_it_follows_until_the_run_fails(folder):
    begin(folder)
    with locked(folder.path, "run"):
        watching = subprocess.Popen(
            [sys.executable, "-m", "fcit_app.cli", "watch", str(folder.path), "--interval", "0.1"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        seen = watching.stdout.readline()
        folder.ledger.record("run-failed", reason="the power went")
        rest, _ = watching.communicate(timeout=60)
    assert "disco" in seen
    assert "failed: the power went" in rest
    assert watching.returncode == 1


def test_a_run_that_was_asked_to_stop(folder):
    begin(folder)
    folder.ledger.record("run-stopped", stage=1, round=1)
    run = looked_at(folder)
    assert run.over and not run.progress.finished
    assert "stopped, as it was asked to" in state_in_words(run, 0.0)
    assert {state.doing for state in run.clients.values()} == {"not drawn"}


def test_no_run(tmp_path):
    with pytest.raises(RunFolderError, match="not a run folder"):
        WatchedRun(Path(tmp_path))


def test_a_damaged_ledger_is_named_with_its_line(folder):
    begin(folder)
    with (folder.path / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b"no JSON\n")
    with pytest.raises(RunFolderError, match="line 4 is damaged"):
        looked_at(folder)
