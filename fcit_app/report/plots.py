"""Plots of a run as inline SVG."""

from __future__ import annotations

import io
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

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


def accuracy_heat_map(result: RunResult) -> str:
    """Draw the accuracy matrix: a row per stage, a column per task seen by then."""
    rows = result.accuracy or []
    columns = len(result.tasks)
    figure = Figure(figsize=(1.2 + 0.75 * columns, 1.1 + 0.42 * len(rows)))
    axes = figure.add_subplot()
    padded = [[*row, *[float("nan")] * (columns - len(row))] for row in rows]
    axes.imshow(padded, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(columns), result.tasks, rotation=35, ha="right")
    axes.set_yticks(range(len(rows)), [f"after stage {number + 1}" for number in range(len(rows))])
    for y, row in enumerate(rows):
        for x, value in enumerate(row):
            colour = "white" if value < 60 else "black"
            axes.text(x, y, f"{value:.0f}", ha="center", va="center", color=colour)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return _svg(figure)


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
