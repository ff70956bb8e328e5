"""The table of methods: a row a run, a column a task, then Last, Avg and backward transfer."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from fcit_app.config import METHODS
from fcit_app.runs.progress import duration
from fcit_app.runs.result import RunResult

ORDER = METHODS
_MISSING = "–"
_TOLD = {
    "scenario": "{}",
    "setting": "{} stages",
    "aggregator": "{}",
    "beta": "β = {}",
    "seed": "seed {}",
}
"""What tells two runs of a method apart, and how it is told."""


def place(result: RunResult) -> tuple[int, str, int]:
    """Sort key: references first, then the methods; unknown names last, by name; then the seed."""
    known = result.method in ORDER
    return ORDER.index(result.method) if known else len(ORDER), result.method, result.seed


def all_tasks(results: Sequence[RunResult]) -> list[str]:
    """Tasks of all runs, in order of appearance."""
    return list(dict.fromkeys(task for result in results for task in result.tasks))


def label(result: RunResult, results: Sequence[RunResult]) -> str:
    """Name of a row: the method, with what tells it from the other runs of the method."""
    alike = [other for other in results if other.method == result.method]
    differing = [n for n in _TOLD if len({getattr(other, n) for other in alike}) > 1]
    if len(alike) > 1 and not differing:
        differing = ["seed"]
    return ", ".join([result.method, *(_TOLD[n].format(getattr(result, n)) for n in differing)])


def header(tasks: Sequence[str]) -> list[str]:
    """Column titles to ``cells``."""
    return [*tasks, "Last", "Avg", "BWT"]


def cells(result: RunResult, tasks: Sequence[str]) -> list[str]:
    """One row of the table: the last accuracy on each task and the summaries, one decimal."""
    final = (result.accuracy or [[]])[-1]
    of_task = dict(zip(result.tasks, final, strict=False))
    values = [of_task.get(task) for task in tasks]
    values += [result.last, result.avg, result.backward_transfer]
    return [_MISSING if value is None else f"{value:.1f}" for value in values]


def comparison_table(results: Sequence[RunResult]) -> Table:
    """Table of several runs.

    Parameters
    ----------
    results : Sequence[RunResult]
        At least one; columns are the tasks of all of them in order of appearance.
    """
    tasks = all_tasks(results)
    table = Table(
        title="Accuracy after the last stage (per cent)",
        caption="Avg: mean over stages of the mean over tasks seen. "
        "BWT: backward transfer, in points.",
    )
    table.add_column("method", no_wrap=True)
    for title in header(tasks):
        table.add_column(title, justify="right", overflow="fold")
    for result in sorted(results, key=place):
        style = "bold" if result.method == "disco" else None
        table.add_row(label(result, results), *cells(result, tasks), style=style)
    return table


def cost_line(results: Sequence[RunResult]) -> str:
    """Seconds and bytes of each run in one line."""
    parts = []
    for result in sorted(results, key=place):
        text, total = label(result, results), result.seconds.total
        if total is not None:
            text += f" {duration(total)}"
        if result.bytes.up is not None and result.bytes.down is not None:
            up, down = result.bytes.up / 1e6, result.bytes.down / 1e6
            text += f" ({up:.1f} MB up, {down:.1f} MB down)"
        parts.append(text)
    return "Time and traffic: " + " · ".join(parts)
