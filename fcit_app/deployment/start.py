"""Run Flower's SuperLink or SuperNode: output passed on, nothing left over."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from fcit_app.errors import RunError
from fcit_app.launch.app_dir import find_app_dir
from fcit_app.launch.signals import Interruption
from fcit_app.launch.superlink import find_program
from fcit_app.processes import MARK_VARIABLE, Family, caretaking
from fcit_app.runs.environment import COMMIT_VARIABLE, source_commit

_LINES = 200
_END_WITHIN = 15.0
_FOLLOW_WITHIN = 2.0


def run_program(
    name: str,
    arguments: Sequence[str],
    interruption: Interruption,
    before_end: Callable[[Family], None] = lambda family: None,
) -> tuple[int, str]:
    """Run one of Flower's programs until it ends or a signal comes.

    Parameters
    ----------
    name : str
        The program.
    arguments : Sequence[str]
        Its arguments.
    interruption : Interruption
        Where a signal is recorded; the program is ended then, and what it has started with it. It
        is also if this process is killed.
    before_end : Callable[[Family], None]
        What is done between the signal and that, with the program's processes.

    Returns
    -------
    tuple[int, str]
        Its exit code, and its last lines.

    Raises
    ------
    RunError
        If the program is not installed, or a process survives being killed.
    """
    mark = uuid.uuid4().hex
    lines: collections.deque[str] = collections.deque(maxlen=_LINES)
    with caretaking(mark):
        process = subprocess.Popen(
            [find_program(name), *arguments],
            env=_environment(mark),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # A Ctrl-C in the terminal reaches only us: we end the program, and it ends its own.
            start_new_session=True,
        )
        family = Family(mark)
        family.adopt(process.pid)
        reader = threading.Thread(target=_pass_on, args=(process, lines), daemon=True)
        reader.start()
        while process.poll() is None and not interruption:
            time.sleep(0.2)
            family.refresh()
        if interruption:
            before_end(family)
            process.terminate()
            with suppress(subprocess.TimeoutExpired):  # it takes leave of its SuperLink
                process.wait(_END_WITHIN)
            # Its executor would go on asking for it half a minute long.
            family.wait(_FOLLOW_WITHIN)
        survivors = family.end()
    code = process.wait()
    reader.join(5.0)
    if survivors:
        raise RunError(f"Processes of {name} could not be ended: {survivors}. Kill them.")
    return code, "\n".join(lines)


def _pass_on(process: subprocess.Popen[str], lines: collections.deque[str]) -> None:
    for line in process.stdout or ():
        sys.stdout.write(line)
        sys.stdout.flush()
        lines.append(line.rstrip("\n"))


def _environment(mark: str) -> Mapping[str, str]:
    """Set what `fcit run` sets for a simulation, so that a deployment computes the same bits."""
    binaries = os.path.dirname(find_program("flower-superexec"))
    try:
        commit = source_commit(find_app_dir()) or ""
    except RunError:  # installed from a wheel
        commit = ""
    usual = {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        COMMIT_VARIABLE: commit,
    }
    path = os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)])
    return {**usual, **os.environ, "PATH": path, MARK_VARIABLE: mark}
