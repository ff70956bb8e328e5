"""Stopping between two steps because somebody has asked for it: nothing is left half done."""

from __future__ import annotations

from fcit_app.runs import RunFolder, stop_asked


class RunStopped(Exception):  # noqa: N818  it is no error
    """The run ends before its next step, and can go on later."""


def stop_if_asked(folder: RunFolder) -> None:
    """Raise ``RunStopped`` if somebody has asked the run to stop."""
    if stop_asked(folder.path):
        raise RunStopped
