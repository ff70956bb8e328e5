"""A run is asked to stop by a file; whether it is going on is told by its lock."""

from __future__ import annotations

import pytest

from fcit_app.errors import RunFolderError
from fcit_app.runs import ask_to_stop, is_running, locked, stop_asked
from fcit_app.runs.lock import NAME, holder_of
from fcit_app.runs.stop import forget_stop


def test_only_a_run_that_goes_on_can_be_asked(tmp_path):
    assert holder_of(tmp_path) == ""
    with pytest.raises(RunFolderError, match="No run is going on in"):
        ask_to_stop(tmp_path)
    (tmp_path / NAME).write_text("process 1 on earth: run\n")  # left by one that was killed
    assert not is_running(tmp_path)
    with locked(tmp_path, "evaluated"):
        assert not is_running(tmp_path)
    with locked(tmp_path, "run"):
        assert is_running(tmp_path)
        assert not stop_asked(tmp_path)
        ask_to_stop(tmp_path)
        ask_to_stop(tmp_path)
        assert stop_asked(tmp_path)
        forget_stop(tmp_path)
        assert not stop_asked(tmp_path)
        forget_stop(tmp_path)
    assert not is_running(tmp_path)


def test_looking_does_not_keep_the_lock_from_anybody(tmp_path):
    with locked(tmp_path, "run"):
        holder_of(tmp_path)
    with locked(tmp_path, "run"):
        assert holder_of(tmp_path).endswith(": run")
    assert list(tmp_path.iterdir()) == []
