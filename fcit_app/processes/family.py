"""Knowing every process that a run started, so that none of them is left behind.

Flower detaches its executor and Ray rewrites its workers' titles, so neither process groups nor
names find all of them. Children are therefore recorded while their parents live, and a final
search looks for the run's mark in the environment of the rest.
"""

from __future__ import annotations

import contextlib
import math
import time

import psutil

from fcit_app.workers import lives, wait_gone

MARK_VARIABLE = "FCIT_RUN"
"""Environment variable by which a run's processes are known; nobody else sets it."""


class Family:
    """The processes of one run.

    Parameters
    ----------
    mark : str
        Value of ``MARK_VARIABLE`` in the environment of the run's processes, and of no others.
    """

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._known: set[psutil.Process] = set()

    def adopt(self, pid: int) -> None:
        """Count a process, and with it its descendants, as the run's."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._known.add(psutil.Process(pid))

    def refresh(self) -> None:
        """Record the present descendants, which are lost to sight once their parents die."""
        # A search reads the whole process table, so the oldest comes first: a child that a search
        # has found lives, and needs none of its own.
        found: set[psutil.Process] = set()
        for process in sorted(self._known, key=_began):
            if process not in found and lives(process):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    found.update(process.children(recursive=True))
        self._known |= found

    def alive(self) -> list[psutil.Process]:
        """List the processes that still live, found by descent or by the mark."""
        self.refresh()
        for process in psutil.process_iter():
            if process not in self._known and self._is_marked(process):
                self._known.add(process)
        return sorted((p for p in self._known if lives(p)), key=lambda p: p.pid)

    def named(self, name: str) -> list[psutil.Process]:
        """List recorded living processes whose command line mentions a name."""
        found = []
        for process in self._known:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if lives(process) and any(name in part for part in process.cmdline()):
                    found.append(process)
        return found

    def wait(self, seconds: float) -> bool:
        """Whether all processes end by themselves within some seconds."""
        end = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > end:
                return False
            time.sleep(0.2)
        return True

    def end(self, grace: float = 5.0) -> list[int]:
        """Terminate what still lives, kill what does not listen within ``grace`` seconds.

        Returns
        -------
        list[int]
            Ids that survived even that: empty unless the system is in trouble.
        """
        for send in (psutil.Process.terminate, psutil.Process.kill):
            for process in self.alive():
                with contextlib.suppress(psutil.NoSuchProcess):
                    send(process)
            if self.wait(grace):
                break
        return [process.pid for process in self.alive()]

    def _is_marked(self, process: psutil.Process) -> bool:
        try:
            return bool(process.environ().get(MARK_VARIABLE) == self._mark)
        except (psutil.Error, OSError):
            # Another user's process, or one that has just ended: not ours either way.
            return False


def _began(process: psutil.Process) -> float:
    """When a process began; those that have just ended come last."""
    try:
        return float(process.create_time())
    except psutil.NoSuchProcess:
        return math.inf


def end_in_order(family: Family) -> list[int]:
    """End a run's simulation first, then its SuperLink and whatever is left of both.

    The simulation takes Ray down with it on SIGTERM. Ending the SuperLink first would leave both
    training on as orphans; ``flwr stop`` does the same as this in five times as long.

    Returns
    -------
    list[int]
        See ``Family.end``.
    """
    family.alive()  # who has not been seen yet is known from now on
    simulations = family.named("flwr-simulation")
    for simulation in simulations:
        with contextlib.suppress(psutil.NoSuchProcess):
            simulation.terminate()
    if simulations:
        wait_gone(simulations, 15.0)
    return family.end(grace=10.0)
