"""Plots of a run as inline SVG."""

from __future__ import annotations

import io
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fcit_app.runs.analysis import RunAnalysis, StageAnalysis
from fcit_app.runs.result import RunResult

# Text stays text, for search and screen readers; the same numbers always give the same bytes.
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "fcit", "font.family": "sans-serif"}


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with rc_context(_STYLE):
        figure.savefig(
            buffer,
            format="svg",
            bbox_inches="tight",
            transparent=True,
            metadata=dict.fromkeys(("Date", "Creator")),
        )
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def accuracy_heat_map(result: RunResult, analysis: RunAnalysis | None = None) -> str:
    """Draw the accuracy matrix: a row per stage, a column per task seen by then.

    Where the run was asked about tasks that it had not trained by then, or never trains, they are
    shown greyed, above and to the right of the matrix.
    """
    rows = result.accuracy or []
    names = [*result.tasks, *(analysis.unseen if analysis else [])]
    figure = Figure(figsize=(1.2 + 0.75 * len(names), 1.1 + 0.42 * len(rows)))
    axes = figure.add_subplot()
    padded = [[*row, *[float("nan")] * (len(names) - len(row))] for row in rows]
    axes.imshow(padded, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
    axes.set_yticks(range(len(rows)), [f"after stage {number + 1}" for number in range(len(rows))])
    for y, row in enumerate(rows):
        for x, value in enumerate(row):
            colour = "white" if value < 60 else "black"
            axes.text(x, y, f"{value:.0f}", ha="center", va="center", color=colour)
    for y, stage in enumerate(analysis.stages if analysis else []):
        asked = [*stage.accuracy, *stage.unseen_accuracy]
        for x, untrained in enumerate(asked[stage.seen :], start=stage.seen):
            if untrained is not None:
                square = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="#eeeeee", edgecolor="white")
                axes.add_patch(square)
                axes.text(x, y, f"{untrained:.0f}", ha="center", va="center", color="#777777")
    _without_spines(axes)
    return _svg(figure)


def activation_heat_map(stage: StageAnalysis) -> str:
    """Draw the mean weight of each subspace (column) for each task's questions (row)."""
    rows, names = stage.activation or [], [f"subspace {i}" for i in stage.subspaces or []]
    weights = [row.weights for row in rows]
    largest = max(1.0, *(abs(weight) for row in weights for weight in row))
    figure = Figure(figsize=(1.6 + 0.75 * len(names), 1.1 + 0.36 * len(rows)))
    axes = figure.add_subplot()
    axes.imshow(weights, cmap="viridis", vmin=0, vmax=largest, aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
    axes.set_yticks(range(len(rows)), [row.task for row in rows])
    for y, row in enumerate(weights):
        for x, weight in enumerate(row):
            colour = "white" if weight < 0.6 * largest else "black"
            axes.text(x, y, f"{weight:.2f}", ha="center", va="center", color=colour)
    _without_spines(axes)
    return _svg(figure)


def _without_spines(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)


def forgetting_curves(result: RunResult) -> str:
    """Draw the accuracy of each task over the stages, from the stage that taught it."""
    rows = result.accuracy or []
    figure = Figure(figsize=(7.5, 3.4))
    axes = figure.add_subplot()
    for column, task in enumerate(result.tasks):
        points = [(stage, row[column]) for stage, row in enumerate(rows, 1) if len(row) > column]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=task)
    axes.set_xlabel("stage")
    axes.set_ylabel("accuracy (per cent)")
    axes.set_ylim(-3, 103)
    axes.set_xticks(range(1, len(rows) + 1))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return _svg(figure)
