"""What becomes of a run after a signal: it is asked to stop first, and ended if that takes long."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fcit_app.errors import RunFolderError
from fcit_app.launch.signals import Interruption
from fcit_app.runs.progress import duration
from fcit_app.runs.stop import ask_to_stop

WITHIN = 60.0
"""Seconds from the first signal to the end of the step under way, unless told otherwise."""


class Stopping:
    """Looks after the signals that a run gets.

    Parameters
    ----------
    interruption : Interruption
        The signals.
    folder : Path
        The run's folder.
    within : float
        Seconds that the run may take to stop by itself; 0: it is ended at once.
    tell : Callable[[str], None]
        Takes what a user should know.
    """

    def __init__(
        self,
        interruption: Interruption,
        folder: Path,
        within: float,
        tell: Callable[[str], None],
    ) -> None:
        self._interruption = interruption
        self._folder = folder
        self._within = within
        self._tell = tell
        self._end: float | None = None

    def at_once(self) -> bool:
        """Whether the run is to be ended now; the first call after a signal asks it to stop."""
        if not self._interruption:
            return False
        now = time.monotonic()
        if self._end is None:
            asked = self._within > 0 and self._ask()
            self._end = now + self._within if asked else now
            if asked:
                self._tell(
                    f"stopping when the round under way is done, in {duration(self._within)} at "
                    "the latest; a second signal (Ctrl-C) ends it at once"
                )
        if self._interruption.count > 1:
            self._end = min(self._end, now)
        return now >= self._end

    def _ask(self) -> bool:
        """Whether there is a run that can stop by itself, and now knows that it should."""
        try:
            ask_to_stop(self._folder)
        except RunFolderError:
            return False
        return True
