"""`fcit track`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def track(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, finished or not.")],
    to: Annotated[str, typer.Option(help="tensorboard or wandb (which stays offline).")] = (
        "tensorboard"
    ),
) -> None:
    """Write a run's curves for TensorBoard or Weights & Biases, into its folder `tracking`.

    With the setting `tracking` a run does this itself while it works.
    """
    from fcit_app.commands.terminal import output
    from fcit_app.errors import ConfigError
    from fcit_app.runs import RunFolder
    from fcit_app.tracking import PACKAGES, missing_package, track_all

    if to not in PACKAGES:
        raise ConfigError(f"--to: {to!r} is not allowed; allowed: {', '.join(PACKAGES)}.")
    if why := missing_package(to):
        raise ConfigError(f"--to: {to!r} is not allowed here; {why}")
    place, points = track_all(RunFolder(path), to)
    look = f"tensorboard --logdir {place}" if to == "tensorboard" else f"wandb sync {place}/wandb/*"
    output().print(f"{points} points in {place}", highlight=False, soft_wrap=True, markup=False)
    output().print(f"Look at them: {look}", highlight=False, soft_wrap=True, markup=False)
