"""Commands whose processes a test can find again, whatever becomes of their parents."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent

MARK = "FCIT_TEST"
"""Environment variable that a test's processes inherit, whatever becomes of their parents."""


def marked(mark: str) -> list[psutil.Process]:
    """Living processes that carry a test's mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


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
