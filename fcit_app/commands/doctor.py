"""`fcit doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fcit_app.commands.terminal import output


def doctor(
    root: Annotated[
        Path,
        typer.Argument(metavar="DATA_ROOT", help="FCIT's folders, or a folder of LLaVA JSON."),
    ],
    tasks: Annotated[
        str, typer.Option(help="Data sets that must be there, such as figureqa,dvqa.")
    ] = "",
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder of the text encoder's tokenizer; else tokens are estimated."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look for pictures, but do not read them.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON and nothing else.")
    ] = False,
) -> None:
    """Examine data: what is there, what is missing and from where, what would spoil a run.

    Exit code 0: sound (there may be warnings); 1: there are errors; 2: wrong use.
    """
    from fcit_app.doctor import examine, print_report
    from fcit_app.doctor.progress import shown

    names = [name.strip() for name in tasks.split(",") if name.strip()]
    with shown(Console(stderr=True)) as progress:
        report = examine(root, names, tokenizer, not quick, progress)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
    else:
        print_report(report, output())
    if not report.sound:
        raise typer.Exit(1)
