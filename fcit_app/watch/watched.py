"""A run that somebody looks on at: its progress, its clients, its accuracies, whether it lives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcit_app.runs.folder import RunFolder
from fcit_app.runs.ledger import LedgerTail
from fcit_app.runs.lock import is_held
from fcit_app.runs.progress import RunProgress
from fcit_app.watch.clients import ClientStates

LATEST_LINES = 6
"""How many of the latest reports are kept."""


class WatchedRun:
    """What a run folder tells while its run works; nothing in it is changed.

    Parameters
    ----------
    path : Path
        The run's folder, on this machine or mounted from another.

    Attributes
    ----------
    config : dict
        The run's flat configuration.
    progress : RunProgress
        Phase, share done, seconds left.
    clients : ClientStates
        What each client is doing.
    accuracy : dict[int, float]
        Stage (0: before the first) to the mean accuracy (percent) over the tasks asked after it.
    lines : list[str]
        The latest reports.
    updated : float
        When the latest event was written, seconds since the epoch; 0 if there is none.
    """

    def __init__(self, path: Path) -> None:
        self._folder = RunFolder(path)
        self._tail = LedgerTail(self._folder.ledger.path)
        self._begin()

    @property
    def path(self) -> Path:
        """Folder of the run, absolute."""
        return self._folder.path

    @property
    def alive(self) -> bool | None:
        """Whether a process works at the run; None where that cannot be seen."""
        return is_held(self.path)

    @property
    def over(self) -> bool:
        """Whether nothing more will come: it has ended, in whatever way, or its process is gone."""
        told = self.progress
        ended = told.finished or told.stopped or told.failure is not None
        return ended or self.alive is False

    def name_of(self, stage: int) -> str:
        """Name of a stage, as the run gives it."""
        return self._names[stage - 1] if 0 < stage <= len(self._names) else "before the first"

    def update(self) -> None:
        """Read what has been written since the last time."""
        files = self._tail.files
        events = self._tail.new_events()
        if files and self._tail.files != files:  # a new run has replaced the old one
            self._begin()
        for event in events:
            self._consume(event)

    def _begin(self) -> None:
        self.config = self._folder.read_config()
        self.progress = RunProgress()
        self.clients = ClientStates()
        self.accuracy: dict[int, float] = {}
        self.lines: list[str] = []
        self.updated = 0.0
        self._names: list[str] = []

    def _consume(self, event: Mapping[str, Any]) -> None:
        self.updated = float(event.get("time", self.updated))
        self.clients.consume(event)
        line = self.progress.consume(event)
        if line is not None:
            self.lines = [*self.lines, line][-LATEST_LINES:]
        if event.get("event") in ("run-started", "run-resumed"):
            self._names = [str(name) for name in event.get("stages") or []]
            done = int(event.get("stage", 0)) - (event.get("step") != "evaluated")
            self.accuracy = {s: mean for s, mean in self.accuracy.items() if s <= done}
        if event.get("event") == "stage-evaluated" and event.get("accuracy"):
            scores = [float(score) for score in event["accuracy"]]
            self.accuracy[int(event.get("stage") or 0)] = sum(scores) / len(scores)
