"""All that can be wrong with a SuperLink's or SuperNode's arguments, told at once."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from fcit_app.deployment.arguments import Arguments
from fcit_app.deployment.certificates import (
    problem_of_authority,
    problem_of_node_key,
    problem_of_server,
    unreadable,
)
from fcit_app.deployment.reach import split_address
from fcit_app.errors import ConfigError

# As Flower reads it: key=value pairs between blanks, text in quotes.
_SETTING = re.compile(r"""([\w.-]+)\s*=\s*("[^"]*"|'[^']*'|\S+)""")


def check_superlink(arguments: Arguments) -> None:
    """Raise ``ConfigError`` with all problems of a SuperLink's arguments."""
    _raise([*_own_tls(arguments), _port(arguments)])


def check_node(arguments: Arguments) -> None:
    """Raise ``ConfigError`` with all problems of a SuperNode's arguments."""
    problems: list[str | None] = [*_own_tls(arguments)]
    try:
        split_address(arguments.superlink)
    except ConfigError as error:
        problems += error.problems
    if arguments.root_certificates and not arguments.insecure:
        problems.append(problem_of_authority("--root-certificates", arguments.root_certificates))
    if arguments.key:
        problems.append(problem_of_node_key(arguments.key))
    problems += [_port(arguments), _identity(arguments.node_config)]
    _raise(problems)


def _raise(problems: list[str | None]) -> None:
    found = [problem for problem in problems if problem]
    if found:
        raise ConfigError(found)


def _own_tls(arguments: Arguments) -> list[str | None]:
    """Say what is wrong with the certificate of the program's own port."""
    files: dict[str, Path | None] = {
        "--ssl-ca-certfile": arguments.ca,
        "--ssl-certfile": arguments.certificate,
        "--ssl-keyfile": arguments.certificate_key,
    }
    given = {flag: path for flag, path in files.items() if path}
    if arguments.program == "superlink" and arguments.insecure:
        return []
    if not given and arguments.program == "supernode":
        return []
    missing = [flag for flag in files if flag not in given]
    if missing:
        return [
            f"{', '.join(missing)}: missing. TLS needs {', '.join(files)} (ca.crt, superlink.crt, "
            "superlink.key of docker/make-certificates.sh); on a network of your own alone you may "
            "do without it by --insecure."
        ]
    problems = [unreadable(flag, path) for flag, path in given.items()]
    if not any(problems):
        problems = [problem_of_authority("--ssl-ca-certfile", given["--ssl-ca-certfile"])]
    if not any(problems):
        problems = [problem_of_server(*given.values())]
    return list(problems)


def _port(arguments: Arguments) -> str | None:
    """Say whether the program's own port can be had."""
    where = f"--host {arguments.host} --port {arguments.port}"
    if not 0 < arguments.port < 65536:
        return f"{where}: a port is a whole number from 1 to 65535."
    try:
        family, *_, place = socket.getaddrinfo(
            arguments.host, arguments.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As servers do: connections that are still closing do not block a port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        why = error.strerror or error
        return (
            f"{where}: cannot be listened on ({why}). Another program may hold the port: stop it, "
            "or choose another --port. Each SuperNode on a machine needs its own."
        )
    return None


def _identity(node_config: str) -> str | None:
    """Say whether a SuperNode is told which client it is."""
    settings = dict(_SETTING.findall(node_config))
    values = [settings.get(key, "") for key in ("partition-id", "num-partitions")]
    if all(value.isdecimal() for value in values) and int(values[0]) < int(values[1]):
        return None
    return (
        f"--node-config = '{node_config}': must hold partition-id, from 0 to num-partitions - 1 "
        "and different for each SuperNode, and num-partitions, the same for all, as "
        "'partition-id=0 num-partitions=5'."
    )
