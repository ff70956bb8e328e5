"""The ledger is append-only, readable while it is written, and after a crash."""

from __future__ import annotations

import pytest

from fcit_app.errors import RunFolderError
from fcit_app.runs import Ledger, events_that_stand, read_ledger


def test_events_come_back_in_order(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.record("run-started", stages=["dvqa"], rounds=3)
    ledger.record("note", text="é\nsecond line")
    first, second = ledger.read()
    assert first["event"] == "run-started"
    assert first["stages"] == ["dvqa"]
    assert second["text"] == "é\nsecond line"
    assert second["time"] >= first["time"]
    assert len((tmp_path / "ledger.jsonl").read_text().splitlines()) == 2


def test_a_line_ends_at_a_line_feed_and_nowhere_else(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    odd = "a\u2028b\u2029c\u0085d\x1ce"
    ledger.record("note", text=odd)
    ledger.record("note", text="after")
    assert [event["text"] for event in ledger.read()] == [odd, "after"]


def test_another_writer_continues(tmp_path):
    for number in range(3):
        Ledger(tmp_path / "l").record("note", number=number)
    assert [event["number"] for event in read_ledger(tmp_path / "l")] == [0, 1, 2]


@pytest.mark.parametrize("bad", [float("nan"), object()])
def test_what_json_cannot_hold_leaves_no_half_line(tmp_path, bad):
    ledger = Ledger(tmp_path / "l")
    ledger.record("note", text="good")
    with pytest.raises((TypeError, ValueError)):
        ledger.record("note", text="bad", value=bad)
    assert [event["text"] for event in ledger.read()] == ["good"]


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path):
    ledger = Ledger(tmp_path / "l")
    ledger.record("note", text="whole")
    with ledger.path.open("a") as file:
        file.write('{"time": 1, "ev')
    assert [event["text"] for event in ledger.read()] == ["whole"]


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    (tmp_path / "l").write_text('{"event": "a"}\nxx\n{"event": "b"}\n')
    with pytest.raises(RunFolderError, match="line 2 is damaged"):
        read_ledger(tmp_path / "l")
    with pytest.raises(RunFolderError, match="cannot be read"):
        read_ledger(tmp_path / "none")


def test_a_torn_line_is_cut_before_a_run_goes_on(tmp_path):
    ledger = Ledger(tmp_path / "l")
    ledger.cut_torn_line()
    assert ledger.count() == 0
    ledger.record("note", text="whole")
    with ledger.path.open("a") as file:
        file.write('{"time": 1, "ev')
    ledger.cut_torn_line()
    ledger.record("note", text="after")
    assert [event["text"] for event in ledger.read()] == ["whole", "after"]
    assert ledger.count() == 2


def test_work_that_was_done_again_counts_once():
    """Stopped twice: what followed each saved state is left out, whatever came between."""

    def resumed(events):
        return {"event": "run-resumed", "events": events}

    first = [{"event": "a"}, {"event": "b"}, {"event": "lost"}]
    second = [resumed(2), {"event": "c"}, {"event": "lost"}]
    third = [resumed(5), {"event": "d"}]
    kinds = [event["event"] for event in events_that_stand([*first, *second, *third])]
    assert kinds == ["a", "b", "run-resumed", "c", "run-resumed", "d"]
    anew = [event["event"] for event in events_that_stand([*first, *second, resumed(0)])]
    assert anew == ["run-resumed"]
