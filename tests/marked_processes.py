"""Commands whose processes a test can find again, whatever becomes of their parents."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from fcit_app.processes import MARK_VARIABLE
from fcit_app.workers import lives

BIN = Path(sys.executable).parent

MARK = "FCIT_TEST"
"""Environment variable that a test's processes inherit, whatever becomes of their parents."""


def marked(mark: str) -> list[psutil.Process]:
    """Living processes that carry a test's mark, and what descends from them.

    Ray's own carry it no more: with their titles they overwrite what they were started with.
    """
    found: dict[psutil.Process, None] = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found |= dict.fromkeys([process, *process.children(recursive=True)])
        except (psutil.Error, OSError):
            continue
    return [process for process in found if lives(process)]


def private_homes(processes: Iterable[psutil.Process]) -> set[Path]:
    """Folders that ``fcit run`` made for Flower's processes, and removes unless it is killed."""
    found = set()
    for process in processes:
        try:
            found.add(process.environ().get(MARK_VARIABLE, ""))
        except (psutil.Error, OSError):
            continue
    return {Path(home) for home in found if home}


def run_marked(
    command: list[str | Path], mark: str, cwd: Path, environment: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """Run a command whose processes carry the mark."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**environment, MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.pid in [found.pid for found in marked(mark)]  # the search can find
        try:
            out, err = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)
