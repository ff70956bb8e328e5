"""The table of methods: a row a run, a column a task, then Last, Avg and backward transfer."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from fcit_app.launch.progress import duration
from fcit_app.runs.result import RunResult

_ORDER = ("zero-shot", "blind", "centralized", "finetune", "disco")


def sorted_results(results: Sequence[RunResult]) -> list[RunResult]:
    """References first, then the methods; unknown names last, by name."""
    rank = {name: place for place, name in enumerate(_ORDER)}
    return sorted(results, key=lambda r: (rank.get(r.method, len(rank)), r.method, r.seed))


def cells(result: RunResult, tasks: Sequence[str]) -> list[str]:
    """One row of the table: the last accuracy on each task and the summaries, one decimal."""
    final = dict(zip(result.tasks, (result.accuracy or [[]])[-1], strict=False))
    values = [final.get(task) for task in tasks]
    values += [result.last, result.avg, result.backward_transfer]
    return ["–" if value is None else f"{value:.1f}" for value in values]


def header(tasks: Sequence[str]) -> list[str]:
    """Column titles to ``cells``."""
    return [*tasks, "Last", "Avg", "BWT"]


def comparison_table(results: Sequence[RunResult]) -> Table:
    """Table of several runs.

    Parameters
    ----------
    results : Sequence[RunResult]
        At least one; columns are the tasks of all of them in order of appearance.
    """
    tasks = list(dict.fromkeys(task for result in results for task in result.tasks))
    table = Table(
        title="Accuracy after the last stage (per cent)",
        caption="Avg: mean over stages of the mean over tasks seen. BWT: backward transfer, points.",
    )
    table.add_column("method", no_wrap=True)
    for title in header(tasks):
        table.add_column(title, justify="right", overflow="fold")
    for result in sorted_results(results):
        style = "bold" if result.method == "disco" else None
        table.add_row(result.method, *cells(result, tasks), style=style)
    return table


def cost_line(results: Sequence[RunResult]) -> str:
    """Seconds and bytes of each run in one line."""
    parts = []
    for result in sorted_results(results):
        total = result.seconds.total
        text = f"{result.method} {duration(total)}" if total is not None else result.method
        if result.bytes.up is not None and result.bytes.down is not None:
            up, down = result.bytes.up / 1e6, result.bytes.down / 1e6
            text += f" ({up:.1f} MB up, {down:.1f} MB down)"
        parts.append(text)
    return "Time and traffic: " + " · ".join(parts)
