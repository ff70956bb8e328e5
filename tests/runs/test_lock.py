"""One process at a time, named to whoever comes second; what the dead have left is no obstacle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from fcit_app.errors import RunFolderError
from fcit_app.runs import locked, replacing
from fcit_app.runs.lock import NAME

HOLDER = """
import sys, time
from pathlib import Path
from fcit_app.runs.lock import locked
with locked(Path(sys.argv[1]), "evaluated"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder's lock until it is killed."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_second_is_told_who_was_first_and_takes_over_when_it_is_killed(holder, tmp_path):
    told = rf"{tmp_path} is being evaluated by process {holder.pid} on .*Wait until it has ended"
    with pytest.raises(RunFolderError, match=told), locked(tmp_path, "run"):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / NAME).is_file()
    with locked(tmp_path, "run"):
        assert f"process {os.getpid()} on" in (tmp_path / NAME).read_text()
    assert list(tmp_path.iterdir()) == [], "no trace is left"


def test_a_lock_counts_within_a_process_and_ends_with_its_block(tmp_path):
    with locked(tmp_path, "run"):
        with pytest.raises(RunFolderError, match=f"process {os.getpid()}"), locked(tmp_path, "x"):
            pass
        assert (tmp_path / NAME).is_file(), "the loser takes nothing away"
    with locked(tmp_path, "run"):
        pass
    with pytest.raises(ValueError, match="inside"), locked(tmp_path, "run"):
        raise ValueError("inside")
    with locked(tmp_path, "run"):
        pass


def test_a_run_that_goes_on_is_not_replaced(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text('{"method": "disco", "preset": "mini"}')
    with locked(run, "run"):
        with pytest.raises(RunFolderError, match="is being run by process"), replacing(run):
            pass
        assert run.is_dir()


def test_a_folder_that_cannot_be_locked(tmp_path):
    with pytest.raises(RunFolderError, match="cannot be written"), locked(tmp_path / "gone", "run"):
        pass
