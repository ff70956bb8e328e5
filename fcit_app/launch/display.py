"""Showing a run's progress: a live bar on a terminal, lines with a heartbeat elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from fcit_app.runs.ledger import LedgerTail
from fcit_app.runs.progress import RunProgress, duration

HEARTBEAT = 8.0
"""Longest silence without a terminal, in seconds: users were promised at most ten."""


class Display:
    """Follow a ledger file and show it; ``tick`` has to be called a few times a second.

    Parameters
    ----------
    console : Console
        Where to show; a terminal gets a live bar.
    ledger : Path
        The file to follow; it may not exist yet. What it holds already is not shown.
    """

    def __init__(self, console: Console, ledger: Path) -> None:
        self.progress = RunProgress()
        self._console = console
        self._ledger = LedgerTail(ledger)
        self._start = self._spoken = time.monotonic()
        # Of a run that goes on, what has been and how it ended is no news.
        for _ in self._new_lines():
            pass
        self.progress.failure, self.progress.stopped = None, False
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._ticking = threading.Lock()
        if console.is_terminal:
            self._bar = Progress(
                SpinnerColumn(),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.description}"),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("starting", total=1.0, left="")

    def __enter__(self) -> Display:
        """Start the live bar, on a terminal."""
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Show the last events and take the bar away."""
        self.tick()
        if self._bar:
            self._bar.stop()

    def waiting(self, what: str) -> None:
        """Say what is being waited for, while the run itself cannot tell yet."""
        if what != self.progress.phase:
            self.progress.phase = what
            self._say(what)

    def tick(self) -> None:
        """Show new events; without a terminal, at least every ``HEARTBEAT`` seconds a line."""
        with self._ticking:
            self._tick()

    def _tick(self) -> None:
        for line in self._new_lines():
            self._say(line)
        left = self._left()
        if self._bar:
            phase = escape(self.progress.phase)
            self._bar.update(
                self._task,
                completed=self.progress.fraction(time.time()),
                description=phase,
                left=left,
            )
        elif time.monotonic() - self._spoken > HEARTBEAT:
            self._say(f"… {self.progress.phase}{' · ' if left else ''}{left}")

    def _left(self) -> str:
        seconds = self.progress.seconds_left(time.time())
        return "" if seconds is None or self.progress.finished else f"{duration(seconds)} left"

    def _say(self, text: str) -> None:
        elapsed = duration(time.monotonic() - self._start)
        self._console.print(
            f"[dim]{elapsed:>7}[/dim]  {escape(text)}", highlight=False, soft_wrap=True
        )
        self._spoken = time.monotonic()

    def _new_lines(self) -> Iterator[str]:
        """Report lines of the events appended since the last call."""
        for event in self._ledger.new_events():
            line = self.progress.consume(event)
            if line is not None:
                yield line


@contextmanager
def follow(console: Console, ledger: Path, waiting: str) -> Iterator[Display]:
    """Show progress from a thread, while the caller works in this process.

    Parameters
    ----------
    console : Console
        Where to show.
    ledger : Path
        The ledger that the caller writes.
    waiting : str
        What to show until its first event.
    """
    stop = threading.Event()
    with Display(console, ledger) as display:
        display.waiting(waiting)

        def watch() -> None:
            while not stop.wait(0.25):
                display.tick()

        thread = threading.Thread(target=watch, name="progress", daemon=True)
        thread.start()
        try:
            yield display
        finally:
            stop.set()
            thread.join()
