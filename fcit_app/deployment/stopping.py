"""A SuperLink that is to end lets its runs finish the step under way, save, and stop.

Which runs those are is seen from its own processes: who works at a run holds the lock of its folder
open. A ServerApp of another SuperLink, or one that Flower's isolation mode keeps elsewhere, is not
among them, and does not end with this SuperLink either.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from fcit_app.config.methods import FEDERATED
from fcit_app.errors import RunFolderError
from fcit_app.launch.signals import Interruption
from fcit_app.processes import Family
from fcit_app.runs import RunFolder, ask_to_stop, how_to_go_on, is_running
from fcit_app.runs.lock import NAME as LOCK_NAME
from fcit_app.runs.progress import duration
from fcit_app.workers import lives

_PAUSE = 0.5


def let_runs_stop(
    family: Family, interruption: Interruption, within: float, say: Callable[[str], None]
) -> None:
    """Ask a SuperLink's runs to stop, and wait until their processes have ended.

    Parameters
    ----------
    family : Family
        The SuperLink's processes.
    interruption : Interruption
        The signals so far; a second one ends the wait.
    within : float
        Longest wait in seconds, also for runs that begin meanwhile; 0: nobody is asked.
    say : Callable[[str], None]
        Takes what a user should know.
    """
    end = time.monotonic() + within
    asked: dict[Path, psutil.Process] = {}
    while interruption.count < 2 and time.monotonic() < end:
        for folder, process in runs_under_way(family).items():
            if folder not in asked and _ask(folder):
                asked[folder] = process
                say(
                    f"{folder}: stopping when the step under way is done, in {duration(within)} at "
                    "the latest; a second signal ends it at once"
                )
        # Without its lock a run is over, but its process still has to tell Flower so.
        if not any(lives(process) for process in asked.values()):
            break
        time.sleep(_PAUSE)
    for folder in asked:
        late = "the step under way is abandoned. " if is_running(folder) else ""
        say(f"{folder}: {late}{how_to_go_on(folder, deployed=True) or 'It has finished.'}")


def runs_under_way(family: Family) -> dict[Path, psutil.Process]:
    """Find the folders of the runs that these processes work at, and who works at which."""
    found = {}
    for process in family.alive():
        with suppress(psutil.Error, OSError):  # it has just ended
            for file in process.open_files():
                path = Path(file.path)
                if path.name == LOCK_NAME and is_running(path.parent):
                    found[path.parent] = process
    return found


def _ask(folder: Path) -> bool:
    """Whether a run can stop between two steps, and now knows that it should."""
    try:
        if RunFolder(folder).read_config().get("method") not in FEDERATED:
            return False  # it is made in one piece
        ask_to_stop(folder)
    except RunFolderError:
        return False
    return True
