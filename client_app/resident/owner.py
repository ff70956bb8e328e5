"""Whose process this is: a deployment's, which ends with its one message, or a longer-lived one."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

_PROGRAM = "flwr-clientapp"


def owner_of_message(command: Sequence[str] | None = None) -> int | None:
    """Give the process that starts one process for each message of this node.

    That is Flower's SuperExec: it ends with its SuperNode, or is the main process of a container of
    its own. A simulation's clients run in Ray's processes, which stay and need no resident.

    Parameters
    ----------
    command : Sequence[str], optional
        Program and arguments; this process's by default.

    Returns
    -------
    int or None
        Process id of the SuperExec. None if this is no ``flwr-clientapp``; if none is named, as in
        a pod that holds the message's process alone; if the message's process installed the app's
        dependencies itself, since it takes them away again when it ends; or if this system has no
        Unix sockets.
    """
    program, *arguments = sys.argv if command is None else command
    if Path(program).stem != _PROGRAM or not hasattr(socket, "AF_UNIX"):
        return None
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--parent-pid", type=int)
    parser.add_argument("--allow-runtime-dependency-installation", action="store_true")
    known, _ = parser.parse_known_args(arguments)
    if known.allow_runtime_dependency_installation:
        return None
    parent: int | None = known.parent_pid
    return parent
