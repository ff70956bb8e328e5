"""Every process of a run is found and ended, detached and orphaned ones included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from fcit_app.launch.signals import watch_signals
from fcit_app.processes import MARK_VARIABLE, Family
from fcit_app.workers import wait_gone

SLEEP = "import time; time.sleep(60)"
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
print(child.pid, flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.fixture
def spawn(tmp_path):
    """Start a process that starts a detached one; returns it and the other's id."""
    pids: list[int] = []

    def start(seconds: float, mark: str = "") -> tuple[subprocess.Popen, int]:
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(seconds)],
            stdout=subprocess.PIPE,
            env={**os.environ, MARK_VARIABLE: mark},
        )
        pids.extend([process.pid, int(process.stdout.readline())])
        process.stdout.close()
        return process, pids[-1]

    yield start
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_an_orphan_seen_before_is_ended(spawn):
    family = Family("no such marker anywhere")
    process, child = spawn(60)
    family.adopt(process.pid)
    family.refresh()
    process.kill()
    process.wait()
    assert [p.pid for p in family.alive()] == [child]
    assert family.end(grace=5) == []
    assert wait_gone([psutil.Process(child)] if psutil.pid_exists(child) else [], 5)


def test_an_orphan_never_seen_is_found_by_its_environment(spawn, tmp_path):
    process, child = spawn(0.0, mark=str(tmp_path))
    process.wait()
    family = Family(str(tmp_path))
    assert [p.pid for p in family.alive()] == [child]
    assert family.end(grace=5) == []


def test_others_are_left_alone(spawn, tmp_path):
    process, child = spawn(60, mark="another run")
    family = Family(str(tmp_path))
    assert family.alive() == []
    assert family.end() == []
    assert process.poll() is None
    assert psutil.pid_exists(child)


def test_whoever_only_mentions_the_run_is_left_alone(tmp_path):
    """Such as somebody who follows a log in the run's private folder, or works there."""
    command = [sys.executable, "-c", SLEEP, str(tmp_path / "superlink.log")]
    reader = subprocess.Popen(command, env={**os.environ, "PWD": str(tmp_path)})
    try:
        family = Family(str(tmp_path))
        assert family.alive() == []
        assert family.end() == []
        assert reader.poll() is None
    finally:
        reader.kill()
        reader.wait()


def test_one_that_does_not_listen_is_killed():
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(1, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    family = Family("no such marker anywhere")
    family.adopt(process.pid)
    assert family.named("time.sleep")[0].pid == process.pid
    assert family.end(grace=0.5) == []
    assert process.wait() == -signal.SIGKILL


def test_the_first_signal_interrupts_work_that_cannot_look():
    with watch_signals(interrupt=True) as interruption:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
    assert interruption.number == signal.SIGTERM


def test_signals_are_remembered_and_handlers_restored():
    before = signal.getsignal(signal.SIGTERM)
    with watch_signals() as interruption:
        assert not interruption
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        assert interruption
        assert interruption.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
