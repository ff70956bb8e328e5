"""The display follows a file that grows, and is never silent for long."""

from __future__ import annotations

import io
import time

from rich.console import Console

from fcit_app.launch import Display, display, follow
from fcit_app.runs import Ledger


def plain() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=120), text


def test_new_events_are_shown_once_and_half_lines_wait(tmp_path):
    console, text = plain()
    path = tmp_path / "ledger.jsonl"
    with Display(console, path) as shown:
        shown.tick()
        Ledger(path).record("note", text="first")
        shown.tick()
        with path.open("a") as file:
            file.write('{"time": 1, "event": "note", ')
            file.flush()
            shown.tick()
            file.write('"text": "[second]"}\n')
    assert text.getvalue().count("first") == 1
    assert text.getvalue().count("[second]") == 1


def test_what_a_resumed_run_was_and_how_it_ended_is_no_news(tmp_path):
    console, text = plain()
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.record("run-failed", reason="the power went")
    with Display(console, ledger.path) as shown:
        assert shown.progress.failure is None
        ledger.record("run-resumed", stages=["a", "b"], rounds=2, stage=1, round=2, step="round")
        shown.tick()
    assert "the power went" not in text.getvalue()
    assert "resumed after stage 1/2 a · round 2/2" in text.getvalue()


def test_a_heartbeat_says_what_is_waited_for(tmp_path, monkeypatch):
    assert display.HEARTBEAT <= 9.5
    monkeypatch.setattr(display, "HEARTBEAT", 0.1)
    console, text = plain()
    with follow(console, tmp_path / "none", "starting Flower"):
        time.sleep(0.9)
    assert text.getvalue().count("starting Flower") >= 2


def test_the_last_events_are_shown_at_the_end(tmp_path):
    console, text = plain()
    with follow(console, tmp_path / "l", "loading"):
        Ledger(tmp_path / "l").record("run-finished", last=1.0, avg=2.0)
    assert "finished · Last 1.0 · Avg 2.0" in text.getvalue()


def test_a_terminal_gets_a_live_bar(tmp_path):
    text = io.StringIO()
    console = Console(file=text, width=120, force_terminal=True)
    with follow(console, tmp_path / "l", "starting Flower") as shown:
        Ledger(tmp_path / "l").record("run-started", stages=["a"], rounds=1, method="disco")
        time.sleep(0.6)
        assert shown.progress.phase == "loading the base model and the data"
    assert "\x1b[" in text.getvalue()
    assert "disco started · 1 stage · 1 round each" in text.getvalue()
