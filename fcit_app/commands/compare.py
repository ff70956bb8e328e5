"""`fcit compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fcit_app.commands.terminal import output
from fcit_app.errors import ConfigError

if TYPE_CHECKING:
    from fcit_app.evaluate.noise import Span


def compare(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN_A RUN_B]", help="Two finished runs.")
    ] = None,
    a: Annotated[
        list[Path] | None, typer.Option("--a", help="A seed of setting A; repeatable.")
    ] = None,
    b: Annotated[
        list[Path] | None, typer.Option("--b", help="A seed of setting B; repeatable.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON and nothing else.")
    ] = False,
) -> None:
    """Say what differs between two runs, or groups of seeds, and whether it is more than noise."""
    from fcit_app.evaluate.compare import compare as compared

    pair = runs or []
    if bool(pair) == bool(a or b) or (pair and len(pair) != 2) or (not pair and not (a and b)):
        raise ConfigError(
            "Name two runs (fcit compare RUN_A RUN_B), or two groups of seeds (fcit compare --a "
            "RUN --a RUN --b RUN --b RUN)."
        )
    found = compared(a or pair[:1], b or pair[1:])
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
        return
    table = Table(title="B minus A in percentage points, 95 % intervals", title_justify="left")
    names = ("", "A", "B", "B - A", "other questions", "other seeds or tasks", "paired")
    for name in names:
        table.add_column(name, justify="right" if name else "left")
    for row in found.measured:
        values = (" ".join(f"{value:.2f}" for value in side) for side in (row.a, row.b))
        spans = (_span(row.questions), _span(row.noise), "yes" if row.paired else "")
        table.add_row(row.name, *values, f"{row.difference:+.2f}", *spans)
    console = output()
    for difference in found.differences:
        console.print(f"- {difference}", highlight=False, soft_wrap=True, markup=False)
    for note in found.notes:
        console.print(f"- {note}", highlight=False, soft_wrap=True, markup=False)
    console.print(table)
    console.print(found.sentence, highlight=False, soft_wrap=True, markup=False)


def _span(span: Span | None) -> str:
    return "" if span is None else f"{span[0]:+.2f} to {span[1]:+.2f}"
