"""The doctor's progress bar: bytes of JSON that have been read and examined."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from fcit_app.doctor.examine import Progress as Told


@contextmanager
def shown(console: Console) -> Iterator[Told]:
    """Show a bar while the block runs; it is gone at the end, and never there without a terminal.

    Parameters
    ----------
    console : Console
        Where the bar is drawn: standard error.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("looking", total=None)
        yield Told(
            total=lambda size: bar.update(task, total=size),
            part=lambda name: bar.update(task, description=name),
            read=lambda size: bar.advance(task, size),
        )
