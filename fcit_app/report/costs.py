"""What a run costs: seconds by phase and bytes, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from fcit_app.report.charts import stacked_bars
from fcit_app.report.html import render, table
from fcit_app.report.reading import Event, Reading
from fcit_app.runs.progress import duration

_PHASES = {
    "train": "train",
    "wait": "wait for replies",
    "configure": "match and prepare",
    "guard": "guard",
    "aggregate": "aggregate",
    "save": "save",
}
"""Phase of a round to what a reader calls it, the longest first."""

_NOTE = (
    "Train: the slowest client's own time. Wait: the rest of the time between sending and the last "
    "reply. Bytes: of arrays, tokens among them."
)


def time_by_phase(run: Reading) -> Markup | None:
    """Draw each stage's seconds, parted by phase."""
    rounds = run.of("round-finished")
    if not rounds:
        return None
    stages = sorted({event["stage"] for event in rounds})
    rows = [(f"stage {stage}", _seconds(run, rounds, stage)) for stage in stages]
    return stacked_bars("Seconds by phase", [*_PHASES.values(), "evaluate"], rows, "seconds")


def traffic(run: Reading) -> Markup | None:
    """Make the table of rounds, seconds and bytes by stage, with their sums."""
    rounds = run.of("round-finished")
    if not rounds:
        return None
    rows, sums = [], [0.0] * 5
    for stage in sorted({event["stage"] for event in rounds}):
        own = [event for event in rounds if event["stage"] == stage]
        seconds = _seconds(run, rounds, stage)
        numbers = [
            len(own),
            sum(seconds[:-1]),
            seconds[-1],
            *(sum(event.get("bytes", {}).get(way, 0) for event in own) for way in ("up", "down")),
        ]
        sums = [total + number for total, number in zip(sums, numbers, strict=True)]
        rows.append(_row(str(stage), numbers))
    rows.append(_row("all", sums))
    header = ["stage", "rounds", "in rounds", "evaluating", "MB from clients", "MB to clients"]
    return table(header, rows) + render('<p class="note">{{ note }}</p>', note=_NOTE)


def _row(name: str, numbers: Sequence[float]) -> list[str]:
    rounds, training, evaluating, up, down = numbers
    spent = [duration(training), duration(evaluating)]
    return [name, f"{rounds:.0f}", *spent, f"{up / 1e6:.1f}", f"{down / 1e6:.1f}"]


def _seconds(run: Reading, rounds: Sequence[Event], stage: int) -> list[float]:
    """Seconds of a stage's rounds by phase, then of its evaluation."""
    own = [event.get("seconds", {}) for event in rounds if event["stage"] == stage]
    evaluated = [e.get("seconds", 0.0) for e in run.of("stage-evaluated") if e["stage"] == stage]
    return [sum(float(part.get(p, 0.0)) for part in own) for p in _PHASES] + [sum(evaluated)]
