"""Curves as a Weights & Biases run that stays on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fcit_app.tracking.scalars import Scalar


class WandbTracker:
    """Writes below ``tracking/wandb`` in a run's folder; `wandb sync` sends it if its user wants.

    The mode is offline whatever the surroundings say: nothing leaves the machine unasked.

    Parameters
    ----------
    folder : Path
        Missing or empty.
    name : str
        Of the run.
    config : Mapping[str, Any]
        The run's flat configuration.
    """

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        import wandb

        self._end: Callable[[], None] = wandb.teardown
        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project="fcit",
            name=name,
            # The same run, tracked again, is sent to the same place.
            id=hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16],
            dir=str(folder),
            config=dict(config),
            mode="offline",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                x_disable_stats=True,
                x_service_wait=300.0,  # its service starts slowly beside clients that train
            ),
        )
        self._step = 0
        self._points: dict[str, float] = {}

    def add(self, scalar: Scalar) -> None:
        """Write one point; those of one step go together."""
        if scalar.step != self._step:
            self._flush()
            self._step = scalar.step
        self._points[scalar.name] = scalar.value

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._run.finish()
        self._end()  # its service writes on its own time, and to the end only when it is ended

    def _flush(self) -> None:
        if self._points:
            self._run.log(self._points, step=self._step)
        self._points = {}
