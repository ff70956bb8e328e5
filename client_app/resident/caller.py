"""The message's side: a stand-in for the worker, which hands every call to the node's resident."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from client_app.resident.codec import Frames, decode, decode_error, encode, to_json
from client_app.resident.host import Order
from client_app.resident.place import NoPlaceError, Place, Record, open_place
from fcit_app.errors import FcitError, RunError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as _Connection

_LOGGER = logging.getLogger("flwr")

_ROOT = Path(__file__).resolve().parents[2]
"""Folder of the app's packages: Flower's copy of them in a deployment."""

_PATIENCE = 60.0
"""Seconds within which a resident must listen; it loads nothing before."""

_LOST = (EOFError, OSError, AuthenticationError)


@dataclass(frozen=True)
class Wanted:
    """A worker that is to be resident.

    Parameters
    ----------
    maker : str
        ``module:function`` that makes it.
    arguments : tuple
        What it is made of; values that ``codec`` can write, without arrays.
    idle : float
        Seconds without a call after which it may go.
    """

    maker: str
    arguments: tuple[object, ...]
    idle: float

    @property
    def key(self) -> str:
        """Tells workers apart that must not stand in for each other; of the same code, too."""
        parts = (self.maker, self.arguments, self.idle, _ROOT, sys.executable)
        return hashlib.sha256(to_json(parts).encode()).hexdigest()


class ResidentWorker:
    """Has the public methods of the worker that it stands for.

    A resident that is not there, has ended or is another run's is replaced by a fresh one. Calls of
    several processes are answered one after the other. If it dies of a call, a fresh one gets the
    same call once.

    Parameters
    ----------
    owner : int
        Process id of the node's executor.
    wanted : Wanted
        The worker.
    own : Callable[[], object]
        Makes the worker in this process, if this machine lets no resident be started.
    root : Path, optional
        See ``open_place``.
    """

    def __init__(
        self, owner: int, wanted: Wanted, own: Callable[[], object], root: Path | None = None
    ) -> None:
        self._owner = owner
        self._wanted = wanted
        self._own = own
        self._root = root

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Give any of the worker's public methods.

        It raises what the worker's does; ``RunError`` for an error that is not ours, and if the
        resident dies of the call twice.
        """
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self._call, name)

    def _call(self, name: str, /, *arguments: object, **named: object) -> Any:
        request = encode((name, arguments, named))
        try:
            place = open_place(self._owner, self._root)
            with place.alone():
                kind, frames = self._answer(place, name, request)
        except (NoPlaceError, OSError) as error:  # a full disk, too
            _LOGGER.warning("The base is loaded for this message alone: %s", error)
            return getattr(self._own(), name)(*arguments, **named)
        if kind == b"result":
            return decode(frames)
        failed = decode_error(frames)
        if isinstance(failed, FcitError):
            raise failed
        raise RunError(f"{failed}. The node's log {place.log} says where it happened.")

    def _answer(self, place: Place, name: str, request: Frames) -> tuple[bytes, Frames]:
        """Ask the resident there is, or else a fresh one; once more if it dies."""
        connection = self._present(place) or self._fresh(place)[0]
        try:
            return _exchange(connection, request)
        except _LOST as error:
            _LOGGER.warning(
                "The node's resident worker died of the call '%s' (%r), see %s; a new one starts",
                *(name, error, place.log),
            )
        connection, process = self._fresh(place)
        try:
            return _exchange(connection, request)
        except _LOST as error:
            raise RunError(
                f"The node's resident worker died of the call '{name}', and so did a fresh one: "
                f"{_how_it_ended(process)}. The node's log {place.log} may say why. With "
                "client-resident = 0 each message works in a process of its own."
            ) from error

    def _present(self, place: Place) -> _Connection[Any, Any] | None:
        """Connect to the resident that lives there, if it is the wanted one."""
        record = place.read()
        if record is None or record.key != self._wanted.key or record.process() is None:
            return None
        try:
            return Client(str(place.socket), "AF_UNIX", authkey=record.secret.encode())
        except _LOST:
            return None

    def _fresh(self, place: Place) -> tuple[_Connection[Any, Any], subprocess.Popen[bytes]]:
        """Start a resident, in place of whoever lives there, and connect to it.

        Raises
        ------
        NoPlaceError
            If it does not come to listening.
        """
        place.clear()
        process = _spawn(place)
        wanted, secret = self._wanted, secrets.token_hex(32)
        made_of = to_json(wanted.arguments)
        order = Order(str(place.folder), self._owner, secret, wanted.maker, made_of, wanted.idle)
        end = time.monotonic() + _PATIENCE
        place.write(Record(process.pid, _started(process), wanted.key, secret))
        _give(process, order)
        while time.monotonic() < end and process.poll() is None:
            try:
                return Client(str(place.socket), "AF_UNIX", authkey=secret.encode()), process
            except _LOST:
                time.sleep(0.02)
        how = _how_it_ended(process)
        place.clear()
        raise NoPlaceError(f"a resident worker does not start: {how}; its log is {place.log}.")


def _spawn(place: Place) -> subprocess.Popen[bytes]:
    """Start a process that waits for its order; it has a session of its own and this environment.

    Raises
    ------
    NoPlaceError
        If the system refuses.
    """
    search = filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])
    try:
        with place.log.open("ab") as log:
            return subprocess.Popen(
                # -P: whatever lies in the working directory is not meant
                [sys.executable, "-P", "-m", "client_app.resident.host"],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(search)},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        raise NoPlaceError(f"no process can be started: {error}.") from error


def _started(process: subprocess.Popen[bytes]) -> float:
    created: float = psutil.Process(process.pid).create_time()
    return created


def _give(process: subprocess.Popen[bytes], order: Order) -> None:
    assert process.stdin is not None
    # one that has ended already is seen when it does not listen
    with suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(order.text().encode())


def _exchange(connection: _Connection[Any, Any], request: Frames) -> tuple[bytes, Frames]:
    """Send a call and wait for its answer, however long that takes."""
    with connection:
        for frame in request:
            connection.send_bytes(frame)
        kind = connection.recv_bytes()
        return kind, (connection.recv_bytes(), connection.recv_bytes())


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    try:
        status = process.wait(5.0)
    except subprocess.TimeoutExpired:
        return "it runs and does not answer"
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    return f"killed by {name}" + (
        " (as the system does when memory runs out)" if name == "SIGKILL" else ""
    )
