"""What a run learns and keeps: the accuracy matrix and its curves."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from fcit_app.report.charts import Line, line_chart
from fcit_app.report.heat import Cell, heat_map
from fcit_app.report.reading import Reading

_LIMITS = (-3.0, 103.0)


def accuracy_matrix(run: Reading) -> Markup | None:
    """Draw the accuracy matrix: a row per stage, a column per task seen by then.

    Where the run was asked about tasks that it had not trained by then, or never trains, these
    stand above and to the right of the matrix, without a colour.
    """
    if not _staged(run) or not run.result:
        return None
    unseen = run.analysis.unseen if run.analysis else []
    tasks = run.analysis.tasks if run.analysis else run.result.tasks
    names = [*tasks, *unseen]
    asked = [
        [*s.accuracy, *s.unseen_accuracy] for s in (run.analysis.stages if run.analysis else [])
    ]
    rows, greyed = [], False
    for number, row in enumerate(run.result.accuracy or []):
        cells = [Cell(f"{value:.0f}", value / 100) for value in row]
        further = asked[number][len(row) :] if number < len(asked) else []
        further += [None] * (len(names) - len(row) - len(further))
        cells += [Cell("" if value is None else f"{value:.0f}") for value in further]
        greyed = greyed or any(value is not None for value in further)
        rows.append((f"stage {number + 1}", cells))
    caption = "Accuracy on each task after each stage (per cent)"
    return heat_map(caption + "; grey: not trained by then" * greyed, names, rows)


def forgetting_curves(run: Reading) -> Markup | None:
    """Draw the accuracy of each task over the stages, from the stage that taught it."""
    if not _staged(run) or not run.result:
        return None
    rows = run.result.accuracy or []
    lines = []
    for column, task in enumerate(run.result.tasks):
        points = [(float(t), row[column]) for t, row in enumerate(rows, 1) if len(row) > column]
        if points:
            lines.append(Line(task, points))
    caption = "Accuracy of each task over the stages: a falling line is forgotten"
    return line_chart(caption, lines, "stage", "accuracy (per cent)", _LIMITS)


def mean_curves(runs: Sequence[Reading], names: Sequence[str]) -> Markup | None:
    """Draw each run's mean accuracy over the tasks seen so far; None for a single run."""
    lines = [
        Line(name, [(float(t), fmean(row)) for t, row in enumerate(run.result.accuracy or [], 1)])
        for name, run in zip(names, runs, strict=True)
        if run.result and _staged(run)
    ]
    if len(lines) < 2:
        return None
    caption = "Mean accuracy over the tasks seen by then, run by run"
    return line_chart(caption, lines, "stage", "accuracy (per cent)", _LIMITS)


def _staged(run: Reading) -> bool:
    """Whether there are stages to look at: a reference has a single row."""
    rows = run.result.accuracy if run.result else None
    return bool(rows) and (len(rows or []) > 1 or not run.finished)
