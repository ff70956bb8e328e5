"""`fcit tau`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fcit_app.commands.terminal import output

if TYPE_CHECKING:
    from fcit_app.identity.replay import Interval, Unit
    from fcit_app.runs.token_book import TokenBook

_NARROW = 0.005
"""Narrower intervals of tau are counted only; JSON has them all."""


def tau(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, finished or not.")],
    out: Annotated[
        Path | None, typer.Option(help="PNG of the plot; by default tau.png in the run folder.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the intervals as JSON and nothing else.")
    ] = False,
) -> None:
    """Show how many subspaces each threshold would form, from the run's tokens; nothing is trained.

    The recommendation is the middle of the widest interval that always forms the same subspaces.
    """
    from fcit_app.config import parse
    from fcit_app.identity.replay import recommended, sweep
    from fcit_app.report.tau_plot import write_tau_plot
    from fcit_app.runs import RunFolder
    from fcit_app.runs.token_book import TokenBook

    folder = RunFolder(path)
    config = parse(folder.read_config())
    rounds, tasks = _rounds(TokenBook(folder.path))
    intervals = sweep(rounds, config.identity.count == "round")
    best = recommended(intervals)
    own = config.identity.tau
    steps = [(entry.low, entry.high, len(entry.outcome.partition)) for entry in intervals]
    plot = write_tau_plot(
        steps, own, (best.low, best.high) if best else None, out or folder.path / "tau.png"
    )
    if as_json:
        facts = {
            "run": str(folder.path),
            "tau": own,
            "recommended": None if best is None else _advice(best),
            "intervals": [_facts(entry, tasks) for entry in intervals],
            "plot": str(plot),
        }
        typer.echo(json.dumps(facts, indent=2))
        return
    table = Table(title="Thresholds and what they form", title_justify="left")
    for name in ("above", "up to", "subspaces"):
        table.add_column(name, justify="right")
    table.add_column("tasks that share one")
    table.add_column("")
    hidden = 0
    for entry in intervals:
        here = entry.low < own <= entry.high
        if entry.width < _NARROW and not here and entry is not best:
            hidden += 1
            continue
        formed = _facts(entry, tasks)
        shared = "; ".join(" + ".join(group) for group in formed["together"]) or "none"
        marks = ["this run's"] * here + ["recommended"] * (entry is best)
        numbers = (f"{entry.low:.3f}", f"{entry.high:.3f}", str(formed["subspaces"]))
        table.add_row(*numbers, shared, ", ".join(marks))
    console = output()
    console.print(table)
    if hidden:
        console.print(f"{hidden} intervals narrower than {_NARROW} are not shown.", highlight=False)
    if best:
        advice = _advice(best)
        told = (
            f"Recommended: identity.tau = {advice['tau']} with a margin of {advice['margin']} to "
            f"both sides; this run's is {own}."
        )
    else:
        told = "No recommendation: no threshold does more than keep all apart, or all together."
    console.print(f"{told} Plot: {plot}", highlight=False, soft_wrap=True, markup=False)


def _rounds(book: TokenBook) -> tuple[list[Any], dict[Unit, list[str]]]:
    """Give the rounds to replay, and the tasks of each token."""
    from fcit_app.identity.replay import ReplayRound
    from fcit_app.identity.tokens import IdentityToken

    kept, totals = book.read()
    tasks: dict[Unit, list[str]] = {}
    rounds = []
    for entry in kept:
        tasks |= {(entry.stage, name): named for name, named in entry.tasks.items()}
        tokens = {
            name: IdentityToken(totals[entry.stage, name], count)
            for name, count in entry.counts.items()
        }
        rounds.append(ReplayRound(entry.stage, tokens, frozenset(entry.delivered)))
    return rounds, tasks


def _facts(entry: Interval, tasks: dict[Unit, list[str]]) -> dict[str, Any]:
    """Say what an interval forms: ``together`` has the tasks of each subspace with several."""
    groups = [
        sorted({task for unit in group for task in tasks.get(unit, [])})
        for group in entry.outcome.partition
    ]
    return {
        "above": entry.low,
        "up-to": entry.high,
        "subspaces": len(groups),
        "together": sorted(group for group in groups if len(group) > 1),
    }


def _advice(best: Interval) -> dict[str, float]:
    middle = round((best.low + best.high) / 2, 3)
    return {"tau": middle, "margin": round(min(best.high - middle, middle - best.low), 3)}
