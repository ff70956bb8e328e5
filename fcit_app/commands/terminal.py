"""Where commands print: tables to standard output, progress to standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_HEARTBEAT = 8.0
"""Longest silence without a terminal, in seconds."""


def output() -> Console:
    """Console on standard output.

    Without a terminal a table of twelve columns would be folded to eighty characters.
    """
    return Console() if sys.stdout.isatty() else Console(width=160)


def printable(text: str) -> str:
    """Text of a model for a terminal, which would obey control characters."""
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in text)


@contextmanager
def counting(noun: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many things are done, of how many: a bar on a terminal, now and then a line else.

    Parameters
    ----------
    noun : str
        What is counted, in the plural.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    spoken = time.monotonic()
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(noun, total=None)

        def told(done: int, total: int) -> None:
            nonlocal spoken
            bar.update(task, completed=done, total=total)
            if not console.is_terminal and time.monotonic() - spoken > _HEARTBEAT:
                spoken = time.monotonic()
                console.print(f"… {done} of {total} {noun}", highlight=False)

        yield told
