"""`fcit export`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def export(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    out: Annotated[Path, typer.Option(help="New folder.")],
    subspace: Annotated[
        int | None, typer.Option(help="This subspace alone, as one adapter.")
    ] = None,
    mixture: Annotated[
        str, typer.Option(help="A fixed mixture as one adapter, such as figureqa=0.5,dvqa=0.5.")
    ] = "",
    merge: Annotated[
        bool, typer.Option("--merge", help="Full weights instead of an adapter.")
    ] = False,
    unfinished: Annotated[
        bool, typer.Option("--allow-unfinished", help="Also if the run has not finished.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the export that the folder holds.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was written as JSON and nothing else.")
    ] = False,
) -> None:
    """Write a run's model as PEFT adapters, or as full weights, for tools without this project."""
    from fcit_app.evaluate.saved_run import open_saved_run
    from fcit_app.export.bundle import Wanted, export_run

    wanted = Wanted(subspace, mixture, merge)
    done = export_run(open_saved_run(path), out, wanted, force, unfinished)
    if as_json:
        typer.echo(json.dumps(asdict(done), default=str, indent=2))
        return
    count = len(done.subspaces)
    typer.echo(f"{done.kind}: {count} subspace{'s' if count > 1 else ''} in {done.folder}")
    for remark in done.remarks:
        typer.echo(remark)
