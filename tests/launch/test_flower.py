"""True `flwr run`s of a toy app: exit code, cause of failure, nothing left running."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def pair(launch):
    """A good and a bad run side by side: neither may disturb the other."""
    runs = {"good": launch("good"), "bad": launch("bad")}
    while any(run.process.poll() is None for run in runs.values()):
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


def test_a_good_run(pair):
    run = pair["good"]
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


def test_a_failing_run_says_why(pair):
    run = pair["bad"]
    assert run.process.returncode == 1
    text = run.text()
    assert "The run failed" in text
    assert "ValueError: the toy cannot\ngo on" in text
    assert "toy/server.py" in text
    assert "site-packages/flwr" not in text
    assert str(run.out / "flower.log") in text
    assert_nothing_left(run)


def test_ctrl_c_takes_everything_down(launch):
    run = launch("endless")
    run.wait_for("threads of a client", run.out / "flower.log")
    run.process.send_signal(signal.SIGINT)
    assert run.wait(30) == 130, run.text()
    assert "Nothing of the run is left running" in run.text()
    assert_nothing_left(run)
