"""`fcit route`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fcit_app.commands.ask import voices_of, voices_table
from fcit_app.commands.terminal import output


def route(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, finished or not.")],
    text: Annotated[str, typer.Option(help="The question, with how to answer.")] = "",
    image: Annotated[
        Path | None, typer.Option(help="The picture, for a run whose tokens are made of pictures.")
    ] = None,
    activation: Annotated[
        str, typer.Option(help="softmax, argmax, cosine or concat; by default the run's.")
    ] = "",
    top: Annotated[int, typer.Option(min=1, help="Show so many of the loudest subspaces.")] = 5,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the weights as JSON and nothing else.")
    ] = False,
) -> None:
    """Show which subspaces a question would wake, without loading the base model.

    Only tokens that the base's own vision tower has made need the base.
    """
    from fcit_app.evaluate.route import route as found
    from fcit_app.evaluate.saved_run import open_saved_run

    run = open_saved_run(path, {"activation": activation} if activation else {})
    woken = found(run, text, image)
    voices = [
        {
            "id": voice["id"],
            "weight": voice["weight"],
            "cosine": woken.cosines[voice["id"]],
            "tasks": voice["tasks"],
        }
        for voice in voices_of(run, woken.weights)
    ]
    if as_json:
        facts = {
            "run": str(run.path),
            "activation": run.config.activation,
            "temperature": run.config.identity.temperature,
            "question": text,
            "image": None if image is None else str(image),
            "subspaces": voices,
        }
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    console = output()
    console.print(voices_table(voices[:top], routed=True, each=False))
    if len(voices) > top:
        console.print(f"{len(voices) - top} more not shown (--top).", highlight=False)
    if not run.trained:
        console.print("What each has learned is known once the run has finished.")
