"""Every method, aggregator and ablation on the mini benchmark, as tables anyone can make again.

    python benchmarks/table.py --out docs/results.md                     # all of it: hours
    python benchmarks/table.py --cells hom-task,activation --seeds 0     # a part

Every cell is a real ``fcit run`` into ``runs/table``. Results, configuration and environment of
finished cells are kept in ``benchmarks/results``, so the command can be stopped and started again,
here or in another checkout, and the page shows what is there: with
``--only-show`` nothing is run. Seeds draw pictures, shards, participants, adapters and batches.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from cells import Cell
from grid import TABLES, Table

from fcit_app.runs import RunResult, read_result

Results = Mapping[Cell, RunResult]

_GUESS = 120.0
"""Seconds of a run, where none of its kind is finished yet."""


def main(
    cells: Annotated[
        str, typer.Option(help="Tables, separated by commas: " + ", ".join(TABLES))
    ] = ",".join(TABLES),
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0,1,2",
    rows: Annotated[str, typer.Option(help="Run these rows only, separated by commas.")] = "",
    out: Annotated[Path | None, typer.Option(help="Markdown file for the tables.")] = None,
    only_show: Annotated[bool, typer.Option("--only-show", help="Run nothing.")] = False,
) -> None:
    """Run what is missing, print the tables, and write them if asked to."""
    unknown = [name for name in cells.split(",") if name not in TABLES]
    if unknown:
        raise typer.BadParameter(f"no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    chosen = {name: TABLES[name] for name in cells.split(",")}
    numbers = [int(seed) for seed in seeds.split(",")]
    if not only_show:
        wanted = rows.split(",") if rows else []
        _run([c for seed in numbers for t in chosen.values() for c in _todo(t, seed, wanted)])
    every = {cell for table in TABLES.values() for _, cell in table.cells(numbers)}
    results = {cell: read_result(cell.record) for cell in every if cell.is_done()}
    text = page(chosen, numbers, results)
    typer.echo(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")
        typer.echo(f"written to {out}")


def _todo(table: Table, seed: int, rows: Sequence[str]) -> list[Cell]:
    return [cell for name, cell in table.cells([seed]) if not rows or name in rows]


def _run(todo: Sequence[Cell]) -> None:
    """Run the missing cells one after the other; a cell that fails does not stop the others."""
    missing = [cell for cell in dict.fromkeys(todo) if not cell.is_done()]
    guess = sum(map(_seconds, missing)) / 60
    typer.echo(f"{len(missing)} of {len(set(todo))} runs to do, about {guess:.0f} minutes")
    started, failed = time.monotonic(), []
    for number, cell in enumerate(missing, start=1):
        left = sum(map(_seconds, missing[number - 1 :])) / 60
        passed = (time.monotonic() - started) / 60
        typer.echo(
            f"[{number}/{len(missing)}] {passed:.0f} min, about {left:.0f} left: {cell.folder}"
        )
        try:
            cell.result()
        except subprocess.CalledProcessError:
            failed.append(cell)
    for cell in failed:
        typer.echo(f"failed: {' '.join(cell.command)}")


def _seconds(cell: Cell) -> float:
    """Seconds the cell will take: as its likes have taken, the method and preset being equal."""
    found = [
        (read_result(file.parent).seconds.total or 0.0)
        for file in cell.record.parent.glob("*/result.json")
    ]
    return statistics.fmean(found) if found else _GUESS


def page(tables: Mapping[str, Table], seeds: Sequence[int], results: Results) -> str:
    """Tables of means and spreads, every seed's Last, and the commands.

    Parameters
    ----------
    tables : Mapping[str, Table]
        What to show.
    seeds : Sequence[int]
        Of these seeds.
    results : Results
        What is finished.
    """
    lines = [
        "# Results on the mini benchmark",
        "",
        "Made by `make table` (`python benchmarks/table.py --out docs/results.md`). Per cent of "
        "right answers on test samples; settings were chosen on validation samples. Mean ± "
        f"standard deviation over seeds {', '.join(map(str, seeds))}, where a row has more than "
        "one; *n* says how many it has. BWT: backward transfer.",
        "",
    ]
    for table in tables.values():
        lines += [f"## {table.title}", "", *([table.note, ""] if table.note else [])]
        lines += [*_table(table, seeds, results), ""]
    lines += ["## Commands", "", "```"]
    shown = {cell: None for table in tables.values() for _, cell in table.cells(seeds)}
    lines += [" ".join(cell.command) for cell in shown if cell in results]
    lines += ["```", ""]
    return "\n".join(lines)


def _table(table: Table, seeds: Sequence[int], results: Results) -> Iterator[str]:
    by_row: dict[str, list[RunResult]] = {name: [] for name in table.rows}
    for name, cell in table.cells(seeds):
        if cell in results:
            by_row[name].append(results[cell])
    known = [result for found in by_row.values() for result in found]
    if not known:
        yield "Not run yet."
        return
    tasks = max((result.tasks for result in known), key=len)
    yield "| | " + " | ".join(tasks) + " | Last | Avg | BWT | subspaces | n |"
    yield "|---" * (len(tasks) + 6) + "|"
    for name, found in by_row.items():
        if found:
            yield f"| {name} | " + " | ".join(_values(found, tasks)) + " |"
        else:
            yield f"| {name} |" + " – |" * (len(tasks) + 4) + " 0 |"


def _values(found: Sequence[RunResult], tasks: Sequence[str]) -> Iterator[str]:
    final = [dict(zip(r.tasks, (r.accuracy or [[]])[-1], strict=False)) for r in found]
    for task in tasks:
        yield _spread([row.get(task) for row in final])
    yield f"**{_spread([r.last for r in found])}**"
    # A reference is one row: it has no stages to average over.
    yield _spread([r.avg for r in found])
    yield _spread([r.backward_transfer for r in found])
    counts = sorted({len(r.subspaces) for r in found if r.subspaces is not None})
    yield " / ".join(map(str, counts)) or "–"
    yield str(len(found))


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = statistics.fmean(known)
    return f"{mean:.1f}" if len(known) < 2 else f"{mean:.1f} ± {statistics.stdev(known):.1f}"


if __name__ == "__main__":
    typer.run(main)
