"""Curves as TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcit_app.tracking.scalars import Scalar


class TensorBoardTracker:
    """Writes below ``tracking/tensorboard`` in a run's folder.

    Parameters
    ----------
    folder : Path
        Missing or empty.
    name : str
        Of the run; TensorBoard takes folders' names instead.
    config : Mapping[str, Any]
        The run's flat configuration, shown as a text.
    """

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), flush_secs=5)
        rows = "".join(f"| {key} | {value} |\n" for key, value in config.items())
        self._writer.add_text("configuration", f"| key | value |\n|---|---|\n{rows}")

    def add(self, scalar: Scalar) -> None:
        """Write one point."""
        self._writer.add_scalar(scalar.name, scalar.value, scalar.step, walltime=scalar.time)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
