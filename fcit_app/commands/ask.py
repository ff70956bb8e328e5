"""`fcit ask`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from fcit_app.commands.terminal import output, printable

if TYPE_CHECKING:
    from fcit_app.evaluate.saved_run import SavedRun

_BAR = 20
"""Characters of a weight of 1."""


def ask(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, finished or not.")],
    question: Annotated[str, typer.Argument(help="With how to answer, as in the data set.")],
    image: Annotated[Path | None, typer.Option(help="The picture, if it is about one.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Show so many of the loudest subspaces.")] = 5,
    each: Annotated[
        bool, typer.Option("--each", help="Also show what each subspace alone would answer.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the answer as JSON and nothing else.")
    ] = False,
) -> None:
    """Answer one question with a run's bank, and show which subspaces spoke."""
    from fcit_app.evaluate.question import ask as put
    from fcit_app.evaluate.saved_run import open_saved_run

    run = open_saved_run(path)
    reply = put(run, image, question, each)
    voices = voices_of(run, reply.weights, reply.alone)[:top]
    if as_json:
        facts = {
            "run": str(run.path),
            "method": run.config.method,
            "activation": run.config.activation if run.routed else None,
            "image": None if image is None else str(image),
            "question": question,
            "answer": reply.answer,
            "subspaces": voices,
        }
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    console = output()
    said = printable(reply.answer)
    console.print(f"Answer: {said}", highlight=False, soft_wrap=True, markup=False)
    if not run.routed:
        count = len(run.bank.subspaces)
        who = "one adapter" if count == 1 else f"{count} adapters at full weight"
        console.print(f"Method {run.config.method} answers every question with {who}.")
    if run.routed or each:
        console.print(voices_table(voices, run.routed, each))
    hidden = len(run.bank.subspaces) - len(voices)
    if hidden and (run.routed or each):
        noun = "subspace is" if hidden == 1 else "subspaces are"
        console.print(f"{hidden} more {noun} not shown (--top).", highlight=False)


def voices_of(
    run: SavedRun,
    weights: Mapping[int, float] | None,
    alone: Mapping[int, str] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Facts of each subspace, the loudest first."""
    voices = [
        {
            "id": subspace.identifier,
            "weight": None if weights is None else weights[subspace.identifier],
            "tasks": list(run.trained.get(subspace.identifier, ())),
            "alone": alone.get(subspace.identifier),
        }
        for subspace in run.bank.subspaces
    ]
    return sorted(voices, key=lambda voice: -(voice["weight"] or 0))


def voices_table(voices: list[dict[str, Any]], routed: bool, each: bool) -> Table:
    """Show subspaces, and how loudly each speaks."""
    table = Table()
    table.add_column("subspace", justify="right")
    if routed:
        table.add_column("weight", justify="right")
        table.add_column("", min_width=_BAR)
    if "cosine" in voices[0]:
        table.add_column("cosine", justify="right")
    table.add_column("learned")
    if each:
        table.add_column("alone it says")
    for voice in voices:
        cells = [str(voice["id"])]
        if routed:
            bar = "█" * round(_BAR * min(1.0, max(0.0, voice["weight"])))
            cells += [f"{voice['weight']:.3f}", bar]
        if "cosine" in voice:
            cells.append(f"{voice['cosine']:.3f}")
        cells.append(", ".join(voice["tasks"]) or "?")
        if each:
            cells.append(escape(printable(voice["alone"])))
        table.add_row(*cells)
    return table
