"""`fcit audit`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def audit(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, finished or not.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON and nothing else.")
    ] = False,
) -> None:
    """Prove by hashes that no subspace changed in stages where no client trained it.

    Exit code 0: proved; 1: not.
    """
    from fcit_app.evaluate.saved_run import open_saved_run
    from fcit_app.export.audit import audit_run, told

    found = audit_run(open_saved_run(path))
    if as_json:
        typer.echo(json.dumps({"proved": found.proved, **asdict(found)}, indent=2))
    else:
        typer.echo("\n".join(told(found)))
    raise typer.Exit(0 if found.proved else 1)
