"""The resident's process: makes a worker once, and answers calls one after the other.

It is told what to do on its standard input, so that neither its command nor its environment shows
the secret, and so that it cannot begin before whoever started it has written down that it exists.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

import psutil

from client_app.resident.codec import Frames, decode, encode, encode_error, from_json
from client_app.resident.place import Place, remove_abandoned
from fcit_app.errors import FcitError
from fcit_app.workers import lives

_LOGGER = logging.getLogger("resident")

_BETWEEN_LOOKS = 0.5  # seconds


@dataclass(frozen=True)
class Order:
    """What a resident is started for.

    Parameters
    ----------
    folder : str
        Its ``Place``.
    owner : int
        Process id of the node's executor, with which it ends.
    secret : str
        What a caller must know.
    maker : str
        ``module:function`` that makes the worker.
    arguments : str
        What it makes it of, as ``codec.to_json`` writes it.
    idle : float
        Seconds without a call after which it ends.
    """

    folder: str
    owner: int
    secret: str
    maker: str
    arguments: str
    idle: float

    def text(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self))


class Host:
    """Serves one worker's public methods.

    Parameters
    ----------
    order : Order
        What it is started for.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._place = Place(Path(order.folder))
        self._caller: Connection[Any, Any] | None = None
        self._used = time.monotonic()
        self._looking = threading.Lock()

    @cached_property
    def _worker(self) -> object:
        module, _, name = self._order.maker.partition(":")
        make: Callable[[str], object] = getattr(importlib.import_module(module), name)
        return make(*from_json(self._order.arguments))

    def serve(self) -> None:
        """Answer calls until there is a reason to end; does not return."""
        listener = Listener(
            str(self._place.socket), "AF_UNIX", backlog=16, authkey=self._order.secret.encode()
        )
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        _LOGGER.info("process %d waits for calls", os.getpid())
        while True:
            try:
                with listener.accept() as connection:
                    self._answer(connection)
            except (AuthenticationError, EOFError, OSError) as error:
                _LOGGER.warning("a caller was lost: %r", error)
                time.sleep(_BETWEEN_LOOKS)  # should this be for good, the log must not fill a disk

    def _answer(self, connection: Connection[Any, Any]) -> None:
        request = (connection.recv_bytes(), connection.recv_bytes())
        with self._looking:
            self._caller = connection
        broken = False
        try:
            answer = b"result", self._call(request)
        except Exception as error:
            # What is no error of ours may have left the process, or its GPU, in any state.
            broken = not isinstance(error, FcitError)
            _LOGGER.exception("the call failed")
            answer = b"error", encode_error(error)
        with self._looking:
            self._caller = None
            self._used = time.monotonic()
        connection.send_bytes(answer[0])
        for frame in answer[1]:
            connection.send_bytes(frame)
        if broken:
            _end("an unforeseen error; the next message gets a fresh process", 1)

    def _call(self, request: Frames) -> Frames:
        started = time.perf_counter()
        name, arguments, named = decode(request)
        method = None if name.startswith("_") else getattr(self._worker, name, None)
        if not callable(method):
            raise AttributeError(f"a worker has no public method {name!r}")
        result = encode(method(*arguments, **named))
        _LOGGER.info("%s took %.3f s", name, time.perf_counter() - started)
        return result

    def _watch(self) -> None:
        """End this process when nobody has a use for it."""
        try:
            owner = psutil.Process(self._order.owner)
        except psutil.NoSuchProcess:
            owner = None
        while True:
            if owner is None or not lives(owner):
                shutil.rmtree(self._place.folder, ignore_errors=True)
                _end("the node has ended", 0)
            record = self._place.read()
            if record is None or record.pid != os.getpid():
                _end("another resident has taken its place", 0)
            with self._looking:
                # A caller says nothing more after its call: what can be read is its end.
                if self._caller is not None and self._caller.poll(0):
                    _end("the message whose call it was working on has ended", 1)
                idle = 0.0 if self._caller else time.monotonic() - self._used
                if idle > self._order.idle:
                    _end(f"no call for {self._order.idle:g} s (client-resident)", 0)
            time.sleep(_BETWEEN_LOOKS)


def _end(reason: str, status: int) -> None:
    """End at once, whatever the other thread is doing; the system frees memory and GPU."""
    _LOGGER.info("ends: %s", reason)
    os._exit(status)


def main() -> None:
    """Serve what standard input asks for; end if whoever started this is gone already."""
    text = sys.stdin.read()
    if not text:
        return
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    order = Order(**json.loads(text))
    remove_abandoned(Path(order.folder).parent)
    Host(order).serve()


if __name__ == "__main__":
    main()
