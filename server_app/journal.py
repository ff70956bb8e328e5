"""Events of a run: written to its ledger, and said in the server's log."""

from __future__ import annotations

import logging
import time
from typing import Any

from fcit_app.runs import RunFolder
from fcit_app.runs.progress import RunProgress

LOGGER = logging.getLogger("flwr")
"""Flower's logger."""


class Journal:
    """Writes each event to the run folder's ledger and, in words, to Flower's log.

    Parameters
    ----------
    folder : RunFolder
        Its ledger gets the events.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._ledger = folder.ledger
        self._progress = RunProgress()

    def write(self, event: str, /, **fields: Any) -> None:
        """Record one event."""
        self._ledger.record(event, **fields)
        line = self._progress.consume({"time": time.time(), "event": event, **fields})
        if line is not None:
            LOGGER.info(line)

    def say(self, text: str) -> None:
        """Record a remark."""
        self.write("note", text=text)
