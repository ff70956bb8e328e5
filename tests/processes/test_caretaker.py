"""What a killed launcher has left is ended; nothing and nobody else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fcit_app.processes import MARK_VARIABLE, Family
from fcit_app.workers import wait_gone

ROOT = Path(__file__).parents[2]
LAUNCHER = """
import os, subprocess, sys, time
from pathlib import Path
from fcit_app.processes import MARK_VARIABLE, caretaking

mark, home, ending = sys.argv[1:]
sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
marked = {**os.environ, MARK_VARIABLE: mark}
with caretaking(mark, Path(home)):
    quiet = {"stdout": subprocess.DEVNULL}
    child = subprocess.Popen(sleeper, env=marked, start_new_session=True, **quiet)
    subprocess.Popen(sleeper, **quiet)  # somebody else's
    print(child.pid, flush=True)
    if ending == "killed":
        time.sleep(60)
    assert ending == "leaves it"
print("left", flush=True)
"""


class Launcher:
    """A launcher with a marked child and one that has nothing to do with it."""

    def __init__(self, home: Path, ending: str) -> None:
        self.mark = uuid.uuid4().hex
        self.home = home
        home.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, self.mark, str(home), ending],
            cwd=home.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.child = psutil.Process(int(self.process.stdout.readline()))
        self.everybody = psutil.Process(self.process.pid).children(recursive=True)

    @property
    def caretaker(self) -> psutil.Process:
        (found,) = [p for p in self.everybody if "fcit_app.processes" in p.cmdline()]
        return found

    @property
    def stranger(self) -> psutil.Process:
        (found,) = [p for p in self.everybody if p not in (self.child, self.caretaker)]
        return found


@pytest.fixture
def launch(tmp_path) -> Iterator:
    started: list[Launcher] = []

    def start(ending: str) -> Launcher:
        started.append(Launcher(tmp_path / f"home-{len(started)}", ending))
        return started[-1]

    yield start
    for launcher in started:
        for process in (launcher.process, *launcher.everybody):
            if psutil.pid_exists(process.pid):
                process.kill()
        launcher.process.communicate()


def test_a_killed_launcher_leaves_nothing(launch):
    launcher = launch("killed")
    caretaker, stranger = launcher.caretaker, launcher.stranger
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        caretaker.send_signal(number)  # as when everybody is told to go
    assert launcher.child.is_running() and launcher.home.is_dir()
    launcher.process.kill()
    assert wait_gone([launcher.child, caretaker], 10)
    assert not launcher.home.exists()
    assert stranger.is_running()


def test_a_launcher_that_fails_is_cleaned_up_after_too(launch):
    launcher = launch("fails")
    assert launcher.process.wait(10) == 1  # it has waited for its caretaker
    assert wait_gone([launcher.child], 0)
    assert not launcher.home.exists()


def test_who_leaves_in_order_is_left_alone(launch):
    launcher = launch("leaves it")
    assert launcher.process.stdout.read() == "left\n"
    assert launcher.process.wait(10) == 0
    assert launcher.child.is_running() and launcher.home.is_dir()
    assert Family(launcher.mark).end() == []


def test_a_caretaker_that_is_killed_does_no_harm(launch):
    launcher = launch("killed")
    launcher.caretaker.kill()
    time.sleep(0.2)
    assert launcher.child.is_running() and launcher.process.poll() is None
    assert MARK_VARIABLE in launcher.child.environ()
