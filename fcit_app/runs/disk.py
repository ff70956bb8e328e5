"""Where the system refuses to write: one error that says what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fcit_app.errors import RunFolderError

_TRIAL = 1 << 16
"""Bytes that a disk must have room for if it is not to count as full."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what to do where the system refuses to write something new.

    Raises
    ------
    RunFolderError
        Instead of any ``OSError`` inside.
    """
    try:
        yield
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error}. Choose another --out.") from error


@contextmanager
def keeping(path: Path) -> Iterator[None]:
    """As ``writing``, of what is written when there is something to lose already."""
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            f"{path} cannot be written: {error}. {how_to_mend(error)}, then try again or go on "
            "with the run: what was there before is whole."
        ) from error


def check_writable(folder: Path) -> None:
    """Raise ``RunFolderError`` if nothing can be written to an existing folder any more."""
    trial = folder / ".trial.part"
    with keeping(folder):
        try:
            with trial.open("wb") as file:
                file.write(bytes(_TRIAL))
                file.flush()
                os.fsync(file.fileno())
        finally:
            with suppress(OSError):
                trial.unlink(missing_ok=True)


def how_to_mend(error: OSError) -> str:
    """Say what makes writing possible again."""
    return "Free some space" if error.errno in _FULL else "Make it writable"
