"""`fcit watch`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer


def watch(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    once: Annotated[
        bool, typer.Option("--once", help="Show how it stands now and end; for scripts.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks at the folder.")
    ] = 1.0,
) -> None:
    """Look on at a run: stage, round, clients, losses, time left, who is late.

    Nothing but the folder is read, so it works from a second terminal, over SSH or on a mounted
    disk; Ctrl-C ends the looking and leaves the run alone. Exit code 0: the run has finished or
    still works; 1: it has failed or was stopped.
    """
    from rich.live import Live

    from fcit_app.commands.terminal import output
    from fcit_app.watch import WatchedRun
    from fcit_app.watch.view import draw, state_in_words

    run = WatchedRun(path)
    run.update()
    console = output()
    if once or not console.is_terminal:
        console.print(draw(run, time.time()))
        while not (once or run.over):
            time.sleep(interval)
            known = state_in_words(run, 0.0)
            run.update()
            if (now := state_in_words(run, 0.0)) != known:
                console.print(now, highlight=False, soft_wrap=True, markup=False)
    else:
        try:
            with Live(draw(run, time.time()), console=console, auto_refresh=False) as live:
                while not run.over:
                    time.sleep(interval)
                    run.update()
                    live.update(draw(run, time.time()), refresh=True)
        except KeyboardInterrupt:
            return
    if run.over and not run.progress.finished:
        raise typer.Exit(1)
