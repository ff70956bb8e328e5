"""A disk that is full or read-only: a clear error, and what was written before is whole."""

from __future__ import annotations

import errno
import io
import os

import numpy as np
import pytest
from small_disk import small_disk

from fcit_app.config import flatten, parse
from fcit_app.errors import RunFolderError
from fcit_app.runs import Ledger, RunFolder, atomic, ledger
from fcit_app.runs.disk import check_writable

FULL = "No space left on device.* Free some space, then try again or go on with the run: what was"


class HalfALine(io.FileIO):
    """Half of what is written first finds room."""

    def write(self, content) -> int:
        if getattr(self, "done", False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.done = True
        return super().write(content[: len(content) // 2])


def test_a_line_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    book = Ledger(tmp_path / "ledger.jsonl")
    book.record("first")
    with monkeypatch.context() as patch:
        patch.setattr(ledger.Path, "open", lambda self, mode, buffering: HalfALine(self, mode))
        with pytest.raises(RunFolderError, match=f"ledger.jsonl cannot be written: .*{FULL}"):
            book.record("second", text="x" * 100)
    book.record("third")
    assert [event["event"] for event in book.read()] == ["first", "third"]


def test_a_damaged_line_says_what_to_do_and_its_mend_works(tmp_path):
    book = Ledger(tmp_path / "ledger.jsonl")
    for name in ("first", "second", "third"):
        book.record(name)
    first, second, third = book.path.read_text().splitlines()
    book.path.write_text("\n".join([first, second.replace('"', "#", 1), third, ""]))
    with pytest.raises(RunFolderError, match=r"line 2 is damaged: .*write \{") as caught:
        book.read()
    mend = str(caught.value).partition("write ")[2].partition(" in its place")[0]
    book.path.write_text("\n".join([first, mend, third, ""]))
    assert [event["event"] for event in book.read()] == ["first", "damaged", "third"]


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", 2) as disk:
        yield disk


def saved(disk) -> RunFolder:
    """A run with one state on a disk that it fills by a third."""
    folder = RunFolder.create(disk.path / "run", flatten(parse({})), {})
    folder.save_state({"a": np.arange(60_000.0)}, {"stage": 1, "round": 1})
    return folder


def check_whole(folder: RunFolder) -> None:
    arrays, meta = folder.load_state()
    assert meta["round"] == 1
    assert (arrays["a"] == np.arange(60_000.0)).all()
    left = [path.name for path in folder.path.rglob(".*.part")]
    assert left == [], "what could not be finished takes up no room"


def test_no_room_for_the_next_state(disk):
    folder = saved(disk)
    disk.fill()
    with pytest.raises(RunFolderError, match=f"round.safetensors cannot be written: .*{FULL}"):
        folder.save_state({"a": np.zeros(60_000)}, {"stage": 1, "round": 2})
    check_whole(folder)
    disk.mend()
    folder.save_state({"a": np.zeros(60_000)}, {"stage": 1, "round": 2})
    assert folder.load_state()[1]["round"] == 2


def test_whether_there_is_room(disk):
    folder = disk.path / "run"
    folder.mkdir()
    check_writable(folder)
    disk.fill()
    with pytest.raises(RunFolderError, match=FULL):
        check_writable(folder)
    disk.mend()
    check_writable(folder)
    assert list(folder.iterdir()) == []


def test_a_disk_that_becomes_read_only(disk):
    folder = saved(disk)
    disk.freeze()
    with pytest.raises(RunFolderError, match=r"cannot be written: .*Read-only .*Make it writable"):
        folder.save_state({"a": np.zeros(60_000)}, {"stage": 1, "round": 2})
    check_whole(folder)


@pytest.mark.parametrize("call", range(3))
def test_no_room_at_any_step_of_writing(tmp_path, monkeypatch, call):
    """Open, sync, rename: each may be refused."""
    folder = RunFolder.create(tmp_path / "run", flatten(parse({})), {})
    folder.save_state({"a": np.arange(60_000.0)}, {"stage": 1, "round": 1})
    owner, name = ((atomic.Path, "open"), (os, "fsync"), (atomic.Path, "replace"))[call]

    def refuse(*arguments, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, refuse)
        with pytest.raises(RunFolderError, match=FULL):
            folder.save_state({"a": np.zeros(3)}, {"stage": 1, "round": 2})
    check_whole(folder)
