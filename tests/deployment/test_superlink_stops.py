"""A SuperLink's runs are asked to stop before it ends; nobody else's, and not without a bound."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fcit_app import cli
from fcit_app.config import flatten, parse
from fcit_app.deployment import let_runs_stop
from fcit_app.launch.signals import Interruption
from fcit_app.processes import MARK_VARIABLE, Family
from fcit_app.runs import RunFolder, locked, stop_asked
from fcit_app.workers import wait_gone

ROOT = Path(__file__).parents[2]
SERVER = """
import sys, time
from pathlib import Path
from fcit_app.runs import locked, stop_asked

folder, listens = Path(sys.argv[1]), sys.argv[2] == "listens"
with locked(folder, "run"):
    print("begun", flush=True)
    while not (listens and stop_asked(folder)):
        time.sleep(0.05)
time.sleep(0.5)  # it tells Flower
"""


@pytest.fixture
def mark() -> Iterator[str]:
    """Mark of a SuperLink's processes, all of which are ended."""
    value = uuid.uuid4().hex
    yield value
    assert Family(value).end() == []


@pytest.fixture
def told() -> list[str]:
    return []


def one_signal(count: int = 1) -> Interruption:
    interruption = Interruption()
    interruption.number, interruption.count = 15, count
    return interruption


def made(path: Path, **changes) -> Path:
    folder = RunFolder.create(path, flatten(parse({**changes})), {})
    folder.save_state({}, {"stage": 1, "round": 2, "step": "round"})
    return folder.path


def serve(folder: Path, mark: str, how: str = "listens") -> subprocess.Popen[str]:
    """A ServerApp's process that works at a run."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder), how],
        env={**os.environ, "PYTHONPATH": str(ROOT), MARK_VARIABLE: mark},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.stdout.close()
    return process


def test_runs_stop_and_their_processes_end_by_themselves(tmp_path, mark, told):
    folders = [made(tmp_path / name) for name in ("one", "two")]
    others = made(tmp_path / "others")
    servers = [serve(folder, mark) for folder in folders]
    with locked(others, "run"):
        let_runs_stop(Family(mark), one_signal(), 60, told.append)
        assert not stop_asked(others)
    assert [server.wait(0) for server in servers] == [0, 0]
    assert sum("in 1:00 at the latest" in text for text in told) == 2
    for folder in folders:
        assert f"{folder}: Saved up to stage 1, round 2; go on with" in "\n".join(told)


@pytest.mark.parametrize(("within", "signals"), [(0.3, 1), (60, 2), (0, 1)])
def test_one_that_does_not_listen_is_waited_for_no_longer(tmp_path, mark, told, within, signals):
    folder = made(tmp_path / "run")
    server = serve(folder, mark, "is deaf")
    began = time.monotonic()
    let_runs_stop(Family(mark), one_signal(signals), within, told.append)
    assert time.monotonic() - began < 20
    assert server.poll() is None
    asked = (within, signals) == (0.3, 1)
    assert stop_asked(folder) == asked
    assert ("the step under way is abandoned. Saved up to stage 1" in "".join(told)) == asked


def test_one_that_is_made_in_one_piece_is_not_waited_for(tmp_path, mark, told):
    folder = made(tmp_path / "run", method="blind")
    server = serve(folder, mark)
    let_runs_stop(Family(mark), one_signal(), 60, told.append)
    assert server.poll() is None and not stop_asked(folder) and told == []


def test_a_killed_front_leaves_nothing(tmp_path):
    """As `fcit start` when it is killed itself, with a program that does not end."""
    text = "import time; print('it runs', flush=True); time.sleep(60)"
    front = (
        "from fcit_app.deployment import run_program; from fcit_app.launch.signals import *; "
        f"run_program('python', ['-c', {text!r}], Interruption())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", front],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "it runs\n"
    everybody = psutil.Process(process.pid).children(recursive=True)
    assert len(everybody) == 2  # the program and the caretaker
    process.kill()
    process.communicate()
    assert wait_gone(everybody, 20)


def test_a_supernode_has_no_runs_to_stop(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fcit", "start", "supernode", "--stop-within", "5"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert "--stop-within = 5: is not allowed for a supernode" in capsys.readouterr().err
