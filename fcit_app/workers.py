"""Worker processes of our own: how many there are, whether they live, that none outlives the run.

Imports nothing heavy: a worker reads this first, and is on its guard from then on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.sharedctypes import Synchronized

import psutil


def usable_cores() -> int:
    """Cores that this process may use, where the system can tell; the machine's otherwise."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


@contextmanager
def worker_pool(
    processes: int, environments: Sequence[Mapping[str, str]] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of fresh processes, all of which are gone when the block ends, however it ends.

    Parameters
    ----------
    processes : int
        Most workers; they start when there is work for them.
    environments : Sequence[Mapping[str, str]]
        Environment variables that workers set before anything else, in turn: the first worker those
        of the first entry, and so on from the beginning again. None if empty.
    """
    spawn = multiprocessing.get_context("spawn")  # a forked torch may hang
    begun = spawn.Value("i", 0)
    arguments = (begun, tuple(dict(entry) for entry in environments))
    with ProcessPoolExecutor(processes, spawn, _begin, arguments) as pool:
        try:
            yield pool
        except BaseException:
            # Leaving the pool waits for its workers: without this for minutes of useless work.
            for worker in spawn.active_children():
                worker.terminate()
            raise


def _begin(begun: Synchronized[int], environments: Sequence[Mapping[str, str]]) -> None:
    """Start a worker as the next one of its pool."""
    end_with_parent()
    with begun.get_lock():
        number = begun.value
        begun.value += 1
    if environments:
        os.environ.update(environments[number % len(environments)])


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


def wait_gone(processes: Sequence[psutil.Process], seconds: float) -> bool:
    """Whether all these processes end within some seconds.

    Unlike ``psutil.wait_procs`` it takes a process whose parent has not reaped it as ended:
    Flower's executor never reaps its simulations.
    """
    end = time.monotonic() + seconds
    while any(lives(process) for process in processes):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def lives(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended but was not yet reaped does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
