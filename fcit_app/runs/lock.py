"""One process at a time writes to a folder; who it is can be read."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from fcit_app.errors import RunFolderError
from fcit_app.runs.disk import how_to_mend

NAME = ".lock"
"""File that is locked, and says who has it; a killed process leaves it behind, unlocked."""

# The system's own file locks, which end with their process however it ends; not on Windows.
_LOCKS: Any = import_module("fcntl") if os.name == "posix" else None


@contextmanager
def locked(folder: Path, doing: str) -> Iterator[None]:
    """Let nobody else write to a folder inside; where the system has no file locks, do nothing.

    The lock belongs to the process, not to the file: what a killed process has left is no
    obstacle.

    Parameters
    ----------
    folder : Path
        An existing folder.
    doing : str
        What is done with it, such as "evaluated": for whoever comes second.

    Raises
    ------
    RunFolderError
        If another process (or another part of this one) holds the lock, naming it; or if the lock
        cannot be written.
    """
    if _LOCKS is None:
        yield
        return
    descriptor = _taken(folder)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {_host()}: {doing}\n".encode(), 0)
        yield
    finally:
        with suppress(OSError):  # on a disk that has become read-only; the file alone means nothing
            (folder / NAME).unlink()  # while it is still ours
        os.close(descriptor)  # and with it the lock


def holder_of(folder: Path) -> str:
    """Say who holds a folder's lock and what for: ``process 7 on host: run``; empty if nobody."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return ""
    try:
        if _LOCKS is None:
            return ""
        _LOCKS.flock(descriptor, _LOCKS.LOCK_SH | _LOCKS.LOCK_NB)
    except BlockingIOError:
        return _told(descriptor)
    except OSError:
        return ""
    else:
        return ""
    finally:
        os.close(descriptor)


def check_unlocked(folder: Path) -> None:
    """Raise ``RunFolderError`` if somebody holds the folder's lock."""
    if (folder / NAME).is_file():
        with locked(folder, "looked at"):
            pass


def is_held(folder: Path) -> bool | None:
    """Say whether a process holds a folder's lock.

    Returns
    -------
    bool or None
        None where that cannot be seen from here: its process is on another machine, or the system
        has no file locks.
    """
    if _LOCKS is None:
        return None
    try:
        said = (folder / NAME).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False
    except OSError:
        return None
    host = re.match(r"process \d+ on (.*): ", said)
    if host is not None and host[1] != _host():
        return None
    return bool(holder_of(folder))


def _taken(folder: Path) -> int:
    """Open and lock the folder's file; give its descriptor."""
    file = folder / NAME
    while True:
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            mend = f"{how_to_mend(error)}, then try again."
            raise RunFolderError(f"{file} cannot be written: {error}. {mend}") from error
        try:
            _LOCKS.flock(descriptor, _LOCKS.LOCK_EX | _LOCKS.LOCK_NB)
        except BlockingIOError:
            who, _, doing = _told(descriptor).partition(": ")
            os.close(descriptor)
            raise RunFolderError(
                f"{folder} is being {doing} by {who}. Wait until it has ended, or stop it (a "
                "run: `fcit stop`); then try again."
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise RunFolderError(
                f"{folder} cannot be locked: {error}. Choose a folder on a local disk."
            ) from error
        # Its last holder may have deleted the file meanwhile: such a lock holds nobody off.
        if file.is_file() and os.path.samestat(os.fstat(descriptor), file.stat()):
            return descriptor
        os.close(descriptor)


def _told(descriptor: int) -> str:
    """Read what the lock's holder has said of itself."""
    holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
    return holder or "another process: written to"


def _host() -> str:
    return socket.gethostname() or "this machine"
