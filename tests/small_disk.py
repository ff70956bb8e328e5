"""A disk that can be filled: a small tmpfs where one may be mounted, a system that says so else."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A folder on a disk of its own.

    Parameters
    ----------
    path : Path
        The folder.
    real : bool
        Whether it really is one; if not, nothing can be synced while it is full or read-only.
    """

    def __init__(self, path: Path, real: bool) -> None:
        self.path = path
        self._real = real
        self._patch = pytest.MonkeyPatch()

    def fill(self) -> None:
        """Leave no room."""
        if not self._real:
            self._refuse(errno.ENOSPC)
            return
        with (self.path / "ballast").open("ab", buffering=0) as file:
            for size in (1 << 16, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def freeze(self) -> None:
        """Let nothing be written any more, as after a disk's error."""
        # Only a failing disk becomes read-only while files are open for writing.
        if not (self._real and self._remount("ro")):
            self._refuse(errno.EROFS)

    def mend(self) -> None:
        """Let it be a disk like others again."""
        self._patch.undo()
        if self._real:
            assert self._remount("rw")
            (self.path / "ballast").unlink(missing_ok=True)

    def _remount(self, how: str) -> bool:
        command = ["mount", "-o", f"remount,{how}", str(self.path)]
        return subprocess.run(command, capture_output=True).returncode == 0

    def _refuse(self, number: int) -> None:
        def refuse(descriptor: int) -> None:
            raise OSError(number, os.strerror(number))

        self._patch.setattr(os, "fsync", refuse)


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Make one in an empty folder."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    try:
        real = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        real = False
    disk = SmallDisk(path, real)
    try:
        yield disk
    finally:
        disk.mend()
        if real:
            subprocess.run(["umount", path], check=True)
