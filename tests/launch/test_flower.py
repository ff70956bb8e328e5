"""True `flwr run`s of a toy app: exit code, cause of failure, nothing left running."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from fcit_app.errors import RunFolderError
from fcit_app.launch import flower, run_app
from fcit_app.launch.signals import Interruption
from fcit_app.launch.stopping import Stopping


class DeafSuperLink:
    """Every question to it hangs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.family = self
        self.asked: list[subprocess.Popen[bytes]] = []

    def refresh(self) -> None:
        pass

    def spawn(self, command, log: Path) -> subprocess.Popen[bytes]:
        log.touch()
        self.asked.append(subprocess.Popen(["sleep", "60"]))
        return self.asked[-1]


def test_a_question_that_is_never_answered_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(flower, "ANSWER_WITHIN", 0.1)
    superlink = DeafSuperLink(tmp_path)
    with flower.Display(Console(quiet=True), tmp_path / "ledger.jsonl") as display:
        stopping = Stopping(Interruption(), tmp_path, 60, display.waiting)
        run = flower._Run(superlink, display, stopping, tmp_path / "log")
        status, details = run._status("7")
    assert status == "unknown"
    assert "flwr list" in details
    assert len(superlink.asked) == 5
    assert not any(psutil.pid_exists(process.pid) for process in superlink.asked)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match=r"cannot be written: .* Choose another --out"):
        run_app(tmp_path, {}, 2, tmp_path / "file" / "run", Console(quiet=True))


@pytest.fixture(scope="module")
def runs(launch):
    """A good run, a bad one and one that gets a signal side by side: none disturbs another."""
    runs = {mode: launch(mode) for mode in ("good", "bad", "patient")}
    ledger = runs["patient"].out / "ledger.jsonl"
    asked = False
    while any(run.process.poll() is None for run in runs.values()):
        if not asked and ledger.is_file() and "takes its time" in ledger.read_text():
            runs["patient"].process.send_signal(signal.SIGTERM)
            asked = True
        for run in runs.values():
            run.watch()
        time.sleep(0.3)
    return runs


def assert_nothing_left(run) -> None:
    assert len(run.seen) > 5  # SuperLink, SuperExec, simulation, Ray and its workers were there
    assert run.left_over() == []
    homes = [home for home in run.homes if "fcit-" in home]
    assert len(homes) == 1
    assert not Path(homes[0]).parent.exists()


def test_a_good_run(runs):
    run = runs["good"]
    assert run.process.returncode == 0, run.text()
    text = run.text()
    assert "toy started · 1 stage · 1 round each · 3 clients" in text
    assert "3 replies, 2 processes" in text  # two clients side by side
    assert "lr 1e-05" in text
    assert "finished · Last 1.0" in text
    log = (run.out / "flower.log").read_text()
    assert "threads of a client: 1" in log
    assert "client code is in" in log
    assert "/flwr/apps/fcit.toy-app" in log.split("client code is in")[1].splitlines()[0]
    assert_nothing_left(run)


def test_a_failing_run_says_why(runs):
    run = runs["bad"]
    assert run.process.returncode == 1
    text = run.text()
    assert "The run failed" in text
    assert "ValueError: the toy cannot\ngo on" in text
    assert "toy/server.py" in text
    assert "site-packages/flwr" not in text
    assert str(run.out / "flower.log") in text
    assert_nothing_left(run)


def test_a_run_that_gets_a_signal_may_finish_its_round(runs):
    run = runs["patient"]
    assert run.process.returncode == 143, run.text()
    text = run.text()
    assert "stopping when the round under way is done, in 1:00 at the latest" in text
    assert "stopped, as it was asked to" in text
    assert "Nothing of the run is left running" in text
    assert_nothing_left(run)


def test_ctrl_c_takes_everything_down(launch):
    run = launch("endless")
    run.wait_for("threads of a client", run.out / "flower.log")
    run.process.send_signal(signal.SIGINT)
    assert run.wait(30) == 130, run.text()
    assert "Nothing of the run is left running" in run.text()
    assert_nothing_left(run)
