"""Ctrl-C and friends as something to look at, so that a run is always taken down in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interruption:
    """Which signal has asked us to stop.

    Attributes
    ----------
    number : int
        The first signal's; 0 before there is one.
    count : int
        How many there have been.
    """

    def __init__(self) -> None:
        self.number = 0
        self.count = 0

    def __bool__(self) -> bool:
        """Whether there was a signal."""
        return self.number != 0


@contextmanager
def watch_signals(interrupt: bool = False) -> Iterator[Interruption]:
    """Record SIGINT, SIGTERM and SIGHUP instead of dying of them.

    Outside the main thread Python allows no handlers; nothing is recorded then.

    Parameters
    ----------
    interrupt : bool
        Whether the first of them raises ``KeyboardInterrupt`` as well, for work that cannot look
        at what was recorded.
    """
    interruption = Interruption()

    def remember(number: int, frame: FrameType | None) -> None:
        first = not interruption
        interruption.number = interruption.number or number
        interruption.count += 1
        if first and interrupt:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    present = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    # Ignored before us, as under nohup: it stays ignored.
    numbers = [number for number in present if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, remember) for number in numbers}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
