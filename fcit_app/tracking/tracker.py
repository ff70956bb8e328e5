"""Tracking a run from its ledger, beside the run and never in its way."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from fcit_app.runs.disk import writing
from fcit_app.runs.folder import TRACKING, RunFolder
from fcit_app.runs.ledger import LedgerTail, events_that_stand
from fcit_app.tracking.scalars import Scalar, Scalars

PACKAGES: Mapping[str, str] = {"tensorboard": "tensorboard", "wandb": "wandb"}
"""Names of trackers to the packages that they need; the extras are called the same."""

_LOGGER = logging.getLogger("flwr")
_INTERVAL = 1.0
"""Seconds between two looks at the ledger."""


class Tracker(Protocol):
    """Takes points; made for one run."""

    def add(self, scalar: Scalar) -> None:
        """Take one point."""

    def close(self) -> None:
        """Write what is left."""


def missing_package(name: str) -> str | None:
    """Say what to install for a tracker; None if it is there."""
    package = PACKAGES.get(name)
    if package is None or find_spec(package) is not None:
        return None
    return f"the package {package} is not installed. Install it: pip install 'fcit-disco[{name}]'."


def track_all(folder: RunFolder, name: str) -> tuple[Path, int]:
    """Write the curves of what a run has done so far; what was tracked before is replaced.

    Parameters
    ----------
    folder : RunFolder
        The run's, finished or not.
    name : str
        One of ``PACKAGES``; its package is there, see ``missing_package``.

    Returns
    -------
    tuple[Path, int]
        Where they lie, and how many points they have.

    Raises
    ------
    RunFolderError
        If there is no ledger, or the folder cannot be written.
    """
    scalars = Scalars()
    points = [
        point for event in events_that_stand(folder.ledger.read()) for point in scalars.of(event)
    ]
    tracker, place = _begun(folder, name)
    for point in points:
        tracker.add(point)
    tracker.close()
    return place, len(points)


@contextmanager
def tracked(folder: RunFolder, name: str) -> Iterator[None]:
    """Track the run in a folder from a thread while the caller works at it.

    Curves of a run that goes on begin anew with what stands of it. An error of the tracker's is
    logged once and ends the tracking, never the run.

    Parameters
    ----------
    folder : RunFolder
        The run's.
    name : str
        One of ``PACKAGES``, or "none".
    """
    if name == "none":
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_follow, args=(folder, name, stop), name="tracking")
    thread.daemon = True
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=60.0)


class _Following:
    """The ledger of a run that works, and what tracks it."""

    def __init__(self, folder: RunFolder, name: str) -> None:
        self._folder, self._name = folder, name
        self._tail = LedgerTail(folder.ledger.path)
        self._events: list[Mapping[str, Any]] = []
        self._scalars = Scalars()
        self._tracker: Tracker | None = None

    def look(self) -> None:
        """Hand on what has been written since the last time."""
        new: list[Mapping[str, Any]] = [*self._tail.new_events()]
        self._events += new
        tracker = self._tracker
        if new and (tracker is None or any(e.get("event") == "run-resumed" for e in new)):
            self.close()
            tracker, _ = _begun(self._folder, self._name)
            self._tracker, self._scalars = tracker, Scalars()
            new = events_that_stand(self._events)
        if tracker is not None:
            for point in (point for event in new for point in self._scalars.of(event)):
                tracker.add(point)

    def close(self) -> None:
        if self._tracker is not None:
            self._tracker.close()


def _follow(folder: RunFolder, name: str, stop: threading.Event) -> None:
    try:
        following = _Following(folder, name)
        while not stop.wait(_INTERVAL):
            following.look()
        following.look()
        following.close()
    except Exception as error:  # whatever a tracker does, the run goes on
        _LOGGER.warning("%s does not track this run any more: %s", name, error)


def _begun(folder: RunFolder, name: str) -> tuple[Tracker, Path]:
    """Make a tracker with an empty folder."""
    place = folder.path / TRACKING / name
    with writing(place):
        if place.exists():
            shutil.rmtree(place)
        place.mkdir(parents=True)
    label = f"{folder.path.parent.name}/{folder.path.name}"
    if name == "tensorboard":
        from fcit_app.tracking.tensorboard import TensorBoardTracker

        return TensorBoardTracker(place, label, folder.read_config()), place
    from fcit_app.tracking.wandb_offline import WandbTracker

    return WandbTracker(place, label, folder.read_config()), place
