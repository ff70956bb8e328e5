"""The ledger: what happened in a run, one JSON object a line, only ever appended to."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fcit_app.errors import RunFolderError
from fcit_app.runs.disk import keeping


class Ledger:
    """Append events to ``ledger.jsonl``; each line is flushed, so that others can follow.

    Parameters
    ----------
    path : Path
        The file; it is created by the first event.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, event: str, **fields: Any) -> None:
        """Append one event with the time (seconds since the epoch).

        Raises
        ------
        TypeError, ValueError
            If a field is not JSON, or a number is not finite; nothing is written then.
        RunFolderError
            If the line cannot be written; nothing of it is there then.
        """
        entry = {"time": round(time.time(), 3), "event": event, **fields}
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False)
        with keeping(self.path), self.path.open("ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            rest = f"{line}\n".encode()
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                # On a full disk part of it may fit; the next line would be appended to that.
                file.truncate(end)
                raise

    def count(self) -> int:
        """How many events there are."""
        return self.path.read_bytes().count(b"\n") if self.path.is_file() else 0

    def cut_torn_line(self) -> None:
        """Remove what a crash has left of a line, so that the next event has a line of its own."""
        if self.path.is_file():
            content = self.path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                with keeping(self.path), self.path.open("r+b") as file:
                    file.truncate(whole)

    def read(self) -> list[dict[str, Any]]:
        """All events so far, see ``read_ledger``."""
        return read_ledger(self.path)


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """Read the events of a ledger; a last line cut off by a crash is left out.

    Raises
    ------
    RunFolderError
        If the file is missing, or a line other than the last is damaged.
    """
    try:
        content = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error}") from error
    # Not `splitlines`, which also splits at characters that JSON leaves as they are (U+2028).
    # After the last line end there is nothing, or what a crash has left of a line.
    *lines, _ = content.split("\n")
    return [_event(path, number, line) for number, line in enumerate(lines, start=1)]


def _event(path: Path, number: int, line: str) -> dict[str, Any]:
    """Read one whole line."""
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise RunFolderError(
            f"{path}, line {number} is damaged: {error}. Put it right, or write "
            '{"time": 0, "event": "damaged"} in its place; the saved state does not depend '
            "on it."
        ) from error
    return event


class LedgerTail:
    """Give the events of a ledger as they come, to a process that only looks on.

    Parameters
    ----------
    path : Path
        The file; it may not exist yet.

    Attributes
    ----------
    files : int
        How many files of this name there were: one more when another run has taken the folder,
        whose events then come from their first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = 0
        self._file: tuple[int, int] | None = None
        self._offset = self._lines = 0

    def new_events(self) -> list[dict[str, Any]]:
        """Events appended since the last call; a line still being written waits for the next.

        Raises
        ------
        RunFolderError
            If a line is damaged.
        """
        try:
            with self.path.open("rb") as file:
                facts = os.fstat(file.fileno())
                if self._file != (facts.st_dev, facts.st_ino) or facts.st_size < self._offset:
                    self._file = (facts.st_dev, facts.st_ino)
                    self._offset = self._lines = 0
                    self.files += 1
                file.seek(self._offset)
                content = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        lines = whole.decode("utf-8", errors="replace").split("\n")[:-1]
        events = [
            _event(self.path, self._lines + place, text) for place, text in enumerate(lines, 1)
        ]
        self._lines += len(lines)
        return events


def events_that_stand(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out the events of work that was done again, after a run was interrupted and resumed.

    Parameters
    ----------
    events : Sequence[Mapping]
        All events of a ledger. A ``run-resumed`` says in ``events`` how many of those before it
        belong to the state that the run went on from.
    """
    standing: list[tuple[int, Mapping[str, Any]]] = []
    for place, event in enumerate(events):
        if event.get("event") == "run-resumed":
            standing = [entry for entry in standing if entry[0] < event["events"]]
        standing.append((place, event))
    return [event for _, event in standing]
