"""All pages, one after the other, within ten minutes of one H200.

    python benchmarks/gpu/all.py                 # measures what is missing
    python benchmarks/gpu/all.py --only-show     # writes the pages of what is there

Each page is a process of its own with a budget of time. Rows are kept as they are finished: what
was stopped, here or by the end of a loan, goes on where it was when the command is given again on
the same machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import generation
import memory
import round as one_round
import training
import typer
from page import PAGES, Page, show

BUDGET: Mapping[str, int] = {"training": 165, "generation": 140, "memory": 125, "round": 160}
"""Seconds of each page; expectations of an H200, not measured."""

PAGES_BY_NAME: Mapping[str, Page] = {
    page.name: page for page in (training.PAGE, generation.PAGE, memory.PAGE, one_round.PAGE)
}
_GRACE = 20.0


def main(
    size: Annotated[str, typer.Option(help="7b or tiny")] = "7b",
    out: Annotated[Path, typer.Option(help="Folder of the pages.")] = PAGES,
    only: Annotated[str, typer.Option(help="Names of pages, separated by commas.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Measure finished rows anew.")] = False,
    only_show: Annotated[bool, typer.Option("--only-show", help="Measure nothing.")] = False,
) -> None:
    """Measure what is missing and write the pages."""
    names = only.split(",") if only else list(BUDGET)
    unknown = [name for name in names if name not in BUDGET]
    if unknown:
        raise typer.BadParameter(f"no page {unknown[0]!r}; there are {', '.join(BUDGET)}")
    for name in names:
        show(PAGES_BY_NAME[name], out)
    if only_show:
        return
    typer.echo(f"up to {sum(BUDGET[name] for name in names)} s: {', '.join(names)}")
    failed = []
    for name in names:
        typer.echo(f"--- {name} (up to {BUDGET[name]} s)")
        started = time.monotonic()
        options = ["--size", size, "--out", str(out), *(["--again"] if again else [])]
        if not _measured(name, options):
            failed.append(name)
        typer.echo(f"--- {name}: {time.monotonic() - started:.0f} s")
    if failed:
        typer.echo(f"not finished: {', '.join(failed)}; the same command goes on with them")
        raise typer.Exit(1)


def _measured(name: str, options: list[str]) -> bool:
    """Run one page's script within its budget; say whether it came to its end."""
    script = Path(__file__).with_name(f"{name}.py")
    process = subprocess.Popen([sys.executable, str(script), *options], start_new_session=True)
    try:
        return process.wait(BUDGET[name]) == 0
    except subprocess.TimeoutExpired:
        typer.echo(f"{name}: out of time")
        return False
    finally:
        # what the script has started is in its group; `fcit run` ends cleanly when interrupted
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


if __name__ == "__main__":
    typer.run(main)
