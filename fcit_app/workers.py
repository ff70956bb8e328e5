"""Worker processes of our own: how many there are, and that none outlives the run.

Imports nothing heavy: a worker reads this first, and is on its guard from then on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait


def usable_cores() -> int:
    """Cores that this process may use, where the system can tell; the machine's otherwise."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


@contextmanager
def worker_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of fresh processes, all of which are gone when the block ends, however it ends.

    Parameters
    ----------
    processes : int
        Most workers; they start when there is work for them.
    """
    spawn = multiprocessing.get_context("spawn")  # a forked torch may hang
    with ProcessPoolExecutor(processes, spawn, initializer=end_with_parent) as pool:
        try:
            yield pool
        except BaseException:
            # Leaving the pool waits for its workers: without this for minutes of useless work.
            for worker in spawn.active_children():
                worker.terminate()
            raise


def end_with_parent() -> None:
    """Make this worker end when its parent is gone, however that ended.

    A pool's worker waits for work at a queue that it holds open itself, so it would wait forever.
    Ctrl-C reaches every process of a terminal; here it is the parent's to decide what it means.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
