"""What Flower's own arguments say, as far as it can be wrong on a machine."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fcit_app.errors import ConfigError

PROGRAMS: Mapping[str, str] = MappingProxyType(
    {"superlink": "flower-superlink", "supernode": "flower-supernode"}
)
"""What can be started, and Flower's program behind it."""

_DEFAULT_PORTS = {"superlink": 8000, "supernode": 9094}  # flower-superlink and -supernode --help


@dataclass(frozen=True)
class Arguments:
    """Flower's arguments that are looked at; all others are passed on unseen.

    Parameters
    ----------
    program : str
        Key of ``PROGRAMS``.
    host, port
        Where the program itself listens.
    insecure : bool
        Whether to do without TLS.
    superlink : str
        SuperNode: the SuperLink's ``host:port``.
    root_certificates, key : Path or None
        SuperNode: the CA's certificate; the node's private key.
    node_config : str
        SuperNode: who it is.
    max_wait : float or None
        SuperNode: seconds to wait for the SuperLink; None for as long as it takes.
    ca, certificate, certificate_key : Path or None
        TLS of the program's own port.
    """

    program: str
    host: str
    port: int
    insecure: bool
    superlink: str
    root_certificates: Path | None
    key: Path | None
    node_config: str
    max_wait: float | None
    ca: Path | None
    certificate: Path | None
    certificate_key: Path | None


class _Parser(argparse.ArgumentParser):
    """Raises where argparse ends the process."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise ConfigError(f"{message}; see `{self.prog} --help`.")


def read_arguments(program: str, given: Sequence[str]) -> Arguments:
    """Read arguments of ``flower-superlink`` or ``flower-supernode``.

    Raises
    ------
    ConfigError
        If one has no value, or a number is none.
    """
    # Flower accepts shortened names; those would be passed on unseen, so only checks are missed.
    parser = _Parser(prog=PROGRAMS[program], add_help=False, allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=_DEFAULT_PORTS[program])
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("--superlink", default="127.0.0.1:8000")
    parser.add_argument("--root-certificates", type=_path)
    parser.add_argument("--auth-supernode-private-key", dest="key", type=_path)
    parser.add_argument("--node-config", default="")
    parser.add_argument("--max-wait-time", dest="max_wait", type=float)
    parser.add_argument("--ssl-ca-certfile", dest="ca", type=_path)
    parser.add_argument("--ssl-certfile", dest="certificate", type=_path)
    parser.add_argument("--ssl-keyfile", dest="certificate_key", type=_path)
    found, _ = parser.parse_known_args(list(given))
    return Arguments(program, **vars(found))


def _path(text: str) -> Path:
    return Path(text).expanduser()
