"""`fcit partition`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def partition(
    root: Annotated[Path, typer.Argument(metavar="DATA_ROOT", help="FCIT's folders.")],
    clients: Annotated[int, typer.Option(min=1, help="Number of shards.")] = 50,
    beta: Annotated[float, typer.Option(help="Dirichlet concentration, above 0.")] = 1.0,
    setting: Annotated[str, typer.Option(help="task or capability.")] = "task",
    seed: Annotated[int, typer.Option(min=0, help="Decides the shards.")] = 0,
    minimum: Annotated[int, typer.Option(min=1, help="Fewest records of a client.")] = 1,
) -> None:
    """Deal the training files to clients on disk, in FCIT's layout, with a manifest."""
    from fcit_app.config import parse
    from fcit_app.data.folder.write_partition import write_partition

    config = parse({"setting": setting, "beta": beta, "seed": seed})
    stages = config.stages
    folder = write_partition(root, config.setting, stages, beta, clients, seed, minimum, typer.echo)
    typer.echo(f"Partition: {folder}")
