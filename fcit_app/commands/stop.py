"""`fcit stop`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

_PAUSE = 0.2


def stop(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that is going on.")],
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Wait for it to stop, so long at most.")
    ] = 0.0,
) -> None:
    """Let a run finish the round or evaluation under way, save, and stop.

    Works on the server's machine, for simulations and deployments alike. `fcit run --resume` or the
    key `resume` goes on with it. Exit code 0: it has been asked (with --wait: it has stopped); 1:
    it was still going on in the end; 2: there is nothing to stop.
    """
    from fcit_app.config.methods import FEDERATED
    from fcit_app.errors import RunFolderError
    from fcit_app.runs import RunFolder, ask_to_stop, is_running, read_ledger
    from fcit_app.runs.progress import RunProgress

    folder = RunFolder(run).path
    method = RunFolder(run).read_config().get("method")
    if not is_running(folder):
        raise RunFolderError(f"No run is going on in {folder}. {_whereabouts(folder)}".strip())
    if method not in FEDERATED:
        raise RunFolderError(
            f"The run in {folder} is made in one piece (method {method}), so it cannot stop "
            "between two steps. End it by Ctrl-C."
        )
    ask_to_stop(folder)
    progress, ledger = RunProgress(), folder / "ledger.jsonl"
    for event in read_ledger(ledger) if ledger.is_file() else ():
        progress.consume(event)
    typer.echo(f"Asked to stop after the step under way: {progress.phase}")
    end = time.monotonic() + wait
    while is_running(folder):
        if time.monotonic() >= end:
            if wait:
                typer.echo(f"It is still going on after {wait:g} s; the request stands.")
                raise typer.Exit(1)
            return
        time.sleep(_PAUSE)
    typer.echo(_whereabouts(folder))


def _whereabouts(folder: Path) -> str:
    """Say how far a run has come that is not going on."""
    from fcit_app.runs import how_to_go_on

    return how_to_go_on(folder, deployed=True) or "It has finished."
