"""`fcit stop`: asks, waits if told to, and says what there is to do next."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from fcit_app import cli
from fcit_app.config import flatten, parse
from fcit_app.runs import RunFolder, locked, stop_asked


def fcit(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["fcit", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def made(path, **changes) -> RunFolder:
    folder = RunFolder.create(path / "run", flatten(parse({**changes})), {})
    folder.ledger.record("run-started", method="disco", stages=["a", "b"], rounds=5, clients=2)
    folder.ledger.record("round-started", stage=1, round=3, participants=[0, 1])
    folder.save_state({}, {"stage": 1, "round": 2, "step": "round"})
    return folder


def test_a_run_that_goes_on_is_asked(tmp_path, monkeypatch, capsys):
    folder = made(tmp_path)
    with locked(folder.path, "run"):
        assert fcit(monkeypatch, "stop", folder.path) == 0
        assert stop_asked(folder.path)
    assert "step under way: stage 1/2 a · round 3/5 · clients 0, 1" in capsys.readouterr().out


def test_waiting_for_it(tmp_path, monkeypatch, capsys):
    folder = made(tmp_path)

    def run() -> None:
        with locked(folder.path, "run"):
            begun.set()
            while not stop_asked(folder.path):
                time.sleep(0.01)

    begun = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    begun.wait(10)
    assert fcit(monkeypatch, "stop", folder.path, "--wait", 10) == 0
    thread.join()
    assert "Saved up to stage 1, round 2; go on with `fcit run --resume" in capsys.readouterr().out
    with locked(folder.path, "run"):
        assert fcit(monkeypatch, "stop", folder.path, "--wait", 0.3) == 1
    assert "still going on after 0.3 s" in capsys.readouterr().out


def test_where_there_is_nothing_to_stop(tmp_path, monkeypatch, capsys):
    assert fcit(monkeypatch, "stop", tmp_path) == 2
    assert "is not a run folder" in " ".join(capsys.readouterr().err.split())
    folder = made(tmp_path)
    assert fcit(monkeypatch, "stop", folder.path) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "No run is going on in" in told
    assert "Saved up to stage 1, round 2" in told
    assert not stop_asked(folder.path)


def test_a_reference_is_made_in_one_piece(tmp_path, monkeypatch, capsys):
    folder = made(tmp_path, method="blind")
    with locked(folder.path, "run"):
        assert fcit(monkeypatch, "stop", folder.path) == 2
    assert "made in one piece (method blind)" in " ".join(capsys.readouterr().err.split())
    assert not stop_asked(folder.path)
