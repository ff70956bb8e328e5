"""`fcit report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fcit_app.commands.terminal import output


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, or a folder of them.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="HTML file; by default report.html in the first folder given."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON and nothing else.")
    ] = False,
) -> None:
    """Compare runs: a table here of the finished ones, and an HTML report of all.

    The report shows what an unfinished or damaged run has, and names what it lacks.
    """
    from fcit_app.report import comparison_table, cost_line, write_report
    from fcit_app.report.reading import read_run
    from fcit_app.runs import run_folders

    folders = run_folders(runs)
    readings = [read_run(folder) for folder in folders]
    results = [reading.result for reading in readings if reading.finished and reading.result]
    page = write_report(folders, out or runs[0] / "report.html")
    if as_json:
        typer.echo(json.dumps([result.model_dump() for result in results], indent=2))
        return
    console = output()
    for reading in readings:
        for problem in reading.missing:
            console.print(
                f"{reading.folder}: {problem}", highlight=False, soft_wrap=True, markup=False
            )
    if results:
        console.print(comparison_table(results))
        console.print(cost_line(results), highlight=False, soft_wrap=True)
    where = ", ".join(str(path.resolve()) for path in runs)
    console.print(f"Runs: {where} · Report: {page}", highlight=False, soft_wrap=True, markup=False)
