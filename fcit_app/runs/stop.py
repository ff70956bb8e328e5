"""Asking a run that is going on to stop at its next step, so that it can go on later.

The request is a file in the run's folder: whoever may write there may ask, by ``fcit stop`` on the
server's machine or by a signal to ``fcit run``. The server looks for it between two steps.
"""

from __future__ import annotations

from pathlib import Path

from fcit_app.errors import RunFolderError
from fcit_app.runs.disk import keeping
from fcit_app.runs.lock import holder_of

NAME = "stop"
"""File whose being there is the request."""


def is_running(folder: Path) -> bool:
    """Whether a process is working on the run in this folder."""
    return holder_of(folder).endswith(": run")


def ask_to_stop(folder: Path) -> None:
    """Ask the run in a folder to stop.

    Raises
    ------
    RunFolderError
        If it is not going on, or the request cannot be written.
    """
    if not is_running(folder):
        raise RunFolderError(f"No run is going on in {folder}.")
    with keeping(folder / NAME):
        (folder / NAME).touch()


def stop_asked(folder: Path) -> bool:
    """Whether somebody has asked the run in a folder to stop."""
    return (folder / NAME).is_file()


def forget_stop(folder: Path) -> None:
    """Take back a request: a run begins without those that an earlier one did not live to see."""
    with keeping(folder / NAME):
        (folder / NAME).unlink(missing_ok=True)
