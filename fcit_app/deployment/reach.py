"""Whether a SuperNode and the SuperLink would understand each other; Flower retries in silence."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from fcit_app.deployment.certificates import refusal
from fcit_app.errors import ConfigError, RunError

_ANSWER_WITHIN = 10.0
_PAUSE = 2.0
_SAY_EVERY = 10.0


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; raises ``ConfigError`` for anything else."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or "/" in address or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(
            f"--superlink = {address}: must be host:port without a scheme, as 192.0.2.7:8000."
        )
    return host, int(port)


def reach(address: str, authority: Path | None, insecure: bool) -> str | None:
    """Speak to a SuperLink as a SuperNode would.

    Parameters
    ----------
    address : str
        Its ``host:port``.
    authority : Path or None
        The CA's certificate; None for the system's.
    insecure : bool
        Whether to do without TLS.

    Returns
    -------
    str or None
        Why it does not answer yet; None if all is well.

    Raises
    ------
    ConfigError
        If it answers, but will never let this side in.
    """
    host, port = split_address(address)
    try:
        with socket.create_connection((host, port), _ANSWER_WITHIN) as connection:
            if insecure:
                _speak_plainly(connection, address)
            else:
                _speak_tls(connection, host, address, authority)
    except OSError as error:
        return f"{error.strerror or error}"
    return None


def wait_for_superlink(
    address: str,
    authority: Path | None,
    insecure: bool,
    longest: float | None,
    say: Callable[[str], None],
    stop: Callable[[], bool],
) -> None:
    """Wait until a SuperLink answers; says every ten seconds that it does not.

    Parameters
    ----------
    address, authority, insecure
        See ``reach``.
    longest : float or None
        Seconds to wait; None for as long as it takes.
    say : Callable[[str], None]
        Takes remarks.
    stop : Callable[[], bool]
        Whether to give up waiting.

    Raises
    ------
    ConfigError
        See ``reach``.
    RunError
        If it does not answer in time.
    """
    started, said = time.monotonic(), float("-inf")
    while not stop():
        why = reach(address, authority, insecure)
        if why is None:
            return
        now = time.monotonic()
        if longest is not None and now - started >= longest:
            raise RunError(
                f"The SuperLink at {address} did not answer within {longest:g} s "
                f"(--max-wait-time): {why}. Is it running, is the address right, is the port open?"
            )
        if now - said >= _SAY_EVERY:
            say(f"waiting for the SuperLink at {address}: {why}")
            said = now
        time.sleep(_PAUSE)


def _speak_tls(connection: socket.socket, host: str, address: str, authority: Path | None) -> None:
    context = ssl.create_default_context(cafile=str(authority) if authority else None)
    try:
        with context.wrap_socket(connection, server_hostname=host):
            return
    except ssl.SSLCertVerificationError as error:
        trusted = str(authority) if authority else "this system's list (no --root-certificates)"
        raise ConfigError(
            f"The certificate of the SuperLink at {address} is refused: {refusal(error, trusted)}"
        ) from None
    except ssl.SSLEOFError:
        raise ConnectionAbortedError("it closed the connection") from None
    except ssl.SSLError as error:
        raise ConfigError(
            f"The SuperLink at {address} does not speak TLS ({error.reason}). Start it with "
            "certificates (--ssl-ca-certfile, --ssl-certfile, --ssl-keyfile); on a network of your "
            "own alone you may start both sides with --insecure instead."
        ) from None


def _speak_plainly(connection: socket.socket, address: str) -> None:
    connection.sendall(
        f"GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
    )
    answer = http.client.HTTPResponse(connection)
    try:
        answer.begin()
    except (http.client.HTTPException, OSError):
        # What does not answer plain HTTP may be speaking TLS.
        if not _speaks_tls(address):
            raise ConnectionAbortedError("it does not answer as a SuperLink does") from None
        raise ConfigError(
            f"The SuperLink at {address} speaks TLS only, and --insecure does without. Leave "
            "--insecure out and give --root-certificates, the ca.crt of its authority."
        ) from None
    finally:
        answer.close()


def _speaks_tls(address: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection(split_address(address), _ANSWER_WITHIN) as connection:
            context.wrap_socket(connection).close()
    except OSError:
        return False
    return True
