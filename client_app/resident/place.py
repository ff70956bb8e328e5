"""Where a node's resident and its callers meet: a folder that only this user can enter."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from fcit_app.errors import RunError
from fcit_app.workers import lives, wait_gone

_LONGEST_PATH = 103  # of a socket, in bytes: 107 on Linux, 103 on macOS


class NoPlaceError(RunError):
    """No resident can live here; whoever asked does the work itself."""


@dataclass(frozen=True)
class Record:
    """Who lives here.

    Parameters
    ----------
    pid : int
        The resident's process.
    started : float
        When it began, in seconds since 1970: another process may get the same id later.
    key : str
        What it was started for.
    secret : str
        What a caller must know.
    """

    pid: int
    started: float
    key: str
    secret: str

    def process(self) -> psutil.Process | None:
        """Give the resident's process, None if it has ended."""
        try:
            process = psutil.Process(self.pid)
            # a clock that is put right moves all starting times a little
            if abs(process.create_time() - self.started) > 2 or not lives(process):
                return None
        except psutil.NoSuchProcess:
            return None
        return process


@dataclass(frozen=True)
class Place:
    """The folder of one node's resident.

    Parameters
    ----------
    folder : Path
        Owned by this user, closed to all others.
    """

    folder: Path

    @property
    def socket(self) -> Path:
        """Where the resident listens."""
        return self.folder / "socket"

    @property
    def log(self) -> Path:
        """What residents of this node have to say."""
        return self.folder / "resident.log"

    @property
    def _record(self) -> Path:
        return self.folder / "resident.json"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process is here; the lock ends with its holder, however that ends."""
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def write(self, record: Record) -> None:
        """Say who lives here."""
        new = self._record.with_suffix(".new")
        new.write_text(json.dumps(asdict(record)), encoding="utf-8")
        new.replace(self._record)

    def read(self) -> Record | None:
        """Give who lives here, None if nobody or if it cannot be read."""
        try:
            return Record(**json.loads(self._record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def clear(self, patience: float = 5.0) -> None:
        """End the resident, if there is one, and wait until its memory is free again.

        Parameters
        ----------
        patience : float
            Seconds after which it is killed.
        """
        record = self.read()
        process = record.process() if record else None
        if process is not None:
            for send in (psutil.Process.terminate, psutil.Process.kill):
                with suppress(psutil.NoSuchProcess):
                    send(process)
                if wait_gone([process], patience):
                    break
        self._record.unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)


def open_place(owner: int, root: Path | None = None) -> Place:
    """Give the place of an owner's resident; its folder is made if there is none.

    Parameters
    ----------
    owner : int
        Process id of the node's executor.
    root : Path, optional
        Folder of all places; in the system's folder for temporary files by default.

    Raises
    ------
    NoPlaceError
        If the folder cannot be made, can be entered by others, or is too deep for a socket.
    """
    # TMPDIR may be long, and a socket's path must be short
    short = Path("/tmp")
    temporary = short if short.is_dir() else Path(tempfile.gettempdir())
    root = root or temporary / f"fcit-resident-{os.getuid()}"
    place = Place(root / f"{owner}-{_machine()}")
    if len(os.fsencode(place.socket)) > _LONGEST_PATH:
        raise NoPlaceError(f"{place.socket} is too long a path for a socket.")
    for folder in (root, place.folder):
        _make_private(folder)
    return place


def remove_abandoned(root: Path) -> None:
    """Remove the places below a folder whose owners have ended."""
    for folder in root.iterdir():
        owner, _, machine = folder.name.partition("-")
        if machine == _machine() and owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _machine() -> str:
    """Tell containers apart that share a folder and count their processes from 1 each."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise NoPlaceError(f"{folder} cannot be made: {error}.") from error
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not mine or stat.S_IMODE(found.st_mode) & 0o077:
        raise NoPlaceError(f"{folder} must be a folder of this user's that nobody else can enter.")
