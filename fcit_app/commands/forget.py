"""`fcit forget`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fcit_app.commands.terminal import counting


def forget(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    subspace: Annotated[int, typer.Option(help="The subspace that is taken out.")],
    out: Annotated[Path, typer.Option(help="New run folder.")],
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that answer; the result is the same.")
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON and nothing else.")
    ] = False,
) -> None:
    """Write a run without one subspace, score it again, and say what may remain of it."""
    from fcit_app.evaluate.saved_run import open_saved_run
    from fcit_app.export.forget import forget_subspace

    run = open_saved_run(path)
    with counting("questions") as told:
        done = forget_subspace(run, subspace, out, processes, told)
    if as_json:
        typer.echo(json.dumps(asdict(done), default=str, indent=2))
        return
    for task, after in done.after.items():
        before = f"{done.before[task]:.2f}" if task in done.before else "?"
        typer.echo(f"{task}: {before} -> {after:.2f}")
    typer.echo(f"Run folder: {done.folder}\nWhat may remain:")
    for line in done.remains:
        typer.echo(f"- {line}")
