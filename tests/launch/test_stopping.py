"""The first signal asks a run to stop, the second ends it; so does the first where none goes on."""

from __future__ import annotations

import os
import signal

import pytest

from fcit_app.launch import watch_signals
from fcit_app.launch.signals import Interruption
from fcit_app.launch.stopping import Stopping
from fcit_app.runs import locked, stop_asked


@pytest.fixture
def told() -> list[str]:
    return []


def signalled(count: int = 1) -> Interruption:
    with watch_signals() as interruption:
        for _ in range(count):
            os.kill(os.getpid(), signal.SIGTERM)
    assert (interruption.number, interruption.count) == (signal.SIGTERM, count)
    return interruption


def test_without_a_signal_nothing_happens(tmp_path, told):
    with locked(tmp_path, "run"):
        assert not Stopping(Interruption(), tmp_path, 60, told.append).at_once()
        assert not stop_asked(tmp_path)
    assert told == []


def test_before_there_is_a_run_it_ends_at_once(tmp_path, told):
    assert Stopping(signalled(), tmp_path, 60, told.append).at_once()
    assert told == []


def test_a_run_is_asked_once_and_ended_by_the_second_signal(tmp_path, told):
    interruption = signalled()
    stopping = Stopping(interruption, tmp_path, 60, told.append)
    with locked(tmp_path, "run"):
        assert not stopping.at_once()
        assert stop_asked(tmp_path)
        assert not stopping.at_once()
        assert len(told) == 1
        assert "in 1:00 at the latest" in told[0]
        interruption.count += 1
        assert stopping.at_once()
        assert stopping.at_once()


def test_a_run_that_does_not_stop_in_time_is_ended(tmp_path, told):
    stopping = Stopping(signalled(), tmp_path, 1e-6, told.append)
    with locked(tmp_path, "run"):
        stopping.at_once()
        assert stop_asked(tmp_path)
        assert stopping.at_once()


def test_no_time_to_stop(tmp_path, told):
    with locked(tmp_path, "run"):
        assert Stopping(signalled(), tmp_path, 0, told.append).at_once()
        assert not stop_asked(tmp_path)
