"""What `fcit watch` draws: the run, its stages, its clients, its latest reports."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fcit_app.runs.folder import how_to_go_on
from fcit_app.runs.progress import duration
from fcit_app.watch.clients import ClientState
from fcit_app.watch.watched import WatchedRun

_BLOCKS = "▁▂▃▄▅▆▇█"
_CURVE = 12
"""Losses drawn of each client."""
_STYLE = {
    "trains": "cyan",
    "late": "yellow",
    "delivered": "green",
    "refused": "red",
    "benched": "red",
    "not drawn": "dim",
}


def draw(run: WatchedRun, now: float) -> RenderableType:
    """Everything that is known of a run, for a terminal of any width.

    Parameters
    ----------
    run : WatchedRun
        Up to date.
    now : float
        Seconds since the epoch, as the ledger's times.
    """
    parts: list[RenderableType] = [_head(run), _bar(run, now), Text()]
    if run.accuracy:
        title = "After each stage: mean accuracy of the tasks asked, in percent"
        parts += [Text(title, style="italic"), _stages(run), Text()]
    if run.clients:
        parts += [Text("Clients", style="italic"), _clients(run, now), Text()]
    parts += [Text(line, style="dim", overflow="ellipsis", no_wrap=True) for line in run.lines]
    return Group(*parts)


def curve(losses: Sequence[float]) -> str:
    """Draw losses with one character each, between their own smallest and largest value."""
    low, high = min(losses, default=0.0), max(losses, default=0.0)
    if high <= low:
        return _BLOCKS[0] * len(losses)
    step = (len(_BLOCKS) - 1) / (high - low)
    return "".join(_BLOCKS[round((loss - low) * step)] for loss in losses)


def state_in_words(run: WatchedRun, now: float) -> str:
    """One line: how the run stands, and what to do if it does not go on by itself."""
    if run.progress.failure is not None:
        return " ".join(filter(None, [f"failed: {run.progress.failure}", how_to_go_on(run.path)]))
    if run.progress.stopped:
        return " ".join(filter(None, ["stopped, as it was asked to.", how_to_go_on(run.path)]))
    if run.progress.finished:
        return f"finished · {run.path}"
    if run.alive is False:
        return " ".join(
            filter(None, ["no process works at this run any more.", how_to_go_on(run.path)])
        )
    left = run.progress.seconds_left(now)
    parts = [run.progress.phase, "" if left is None else f"{duration(left)} left"]
    if run.updated:
        parts.append(f"last word {duration(max(0.0, now - run.updated))} ago")
    return " · ".join(filter(None, parts))


def _head(run: WatchedRun) -> Text:
    config = run.config
    head = Text(overflow="ellipsis", no_wrap=True)
    head.append(str(config.get("method", "run")), style="bold")
    head.append(f" · preset {config.get('preset')} · seed {config.get('seed')} · {run.path}")
    return head


def _bar(run: WatchedRun, now: float) -> RenderableType:
    share = run.progress.fraction(now)
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        ProgressBar(total=1.0, completed=share, width=24),
        f"{share:4.0%}",
        Text(state_in_words(run, now)),
    )
    return grid


def _stages(run: WatchedRun) -> RenderableType:
    table = Table(box=None)
    table.add_column("stage")
    table.add_column("%", justify="right")
    table.add_column("")
    for stage, accuracy in sorted(run.accuracy.items()):
        bar = ProgressBar(total=100.0, completed=accuracy, width=20)
        table.add_row(run.name_of(stage), f"{accuracy:.1f}", bar)
    return table


def _clients(run: WatchedRun, now: float) -> RenderableType:
    table = Table(box=None)
    for name, side in (
        ("client", "right"),
        ("state", "left"),
        ("for", "right"),
        ("subspace", "right"),
        ("loss", "right"),
        ("", "left"),
        ("rounds", "right"),
        ("last took", "right"),
        ("refused", "right"),
    ):
        table.add_column(name, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("why", overflow="fold")
    for client, state in sorted(run.clients.items()):
        table.add_row(str(client), *_cells(state, now))
    return table


def _cells(state: ClientState, now: float) -> tuple[str | Text, ...]:
    lasts = state.doing in ("trains", "late") and state.since
    return (
        Text(state.doing, style=_STYLE[state.doing]),
        duration(max(0.0, now - state.since)) if lasts else "",
        "" if state.subspace is None else str(state.subspace),
        f"{state.losses[-1]:.3f}" if state.losses else "",
        curve(state.losses[-_CURVE:]),
        str(state.rounds),
        "" if state.seconds is None else f"{state.seconds:.1f} s",
        str(state.refused) if state.refused else "",
        state.reason,
    )
