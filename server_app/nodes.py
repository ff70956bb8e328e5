"""Which node is which client: nodes get a new number at each connection, clients keep theirs."""

from __future__ import annotations

import time
from collections.abc import Callable

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fcit_app.errors import RunError

HELLO_QUERY = f"{MessageType.QUERY}.hello"
"""Asks a node for its stable client id; a ClientApp answers it with ``@app.query("hello")``."""

MORE_NODES = (
    "In a simulation add nodes with --federation-config 'num-supernodes=5' (`fcit run` does it "
    "with --clients 5); in a deployment start more SuperNodes; or lower clients-per-round."
)


def wait_for_nodes(
    grid: Grid, needed: int, patience: float, say: Callable[[str], None]
) -> tuple[int, ...]:
    """Wait until enough nodes are connected.

    Raises
    ------
    RunError
        If there are too few after ``patience`` seconds; says how to add more.
    """
    end = time.monotonic() + patience
    while True:
        nodes = tuple(sorted(grid.get_node_ids()))
        if len(nodes) >= needed:
            return nodes
        left = end - time.monotonic()
        if left <= 0:
            raise RunError(
                f"clients-per-round = {needed}, but only {len(nodes)} "
                f"node{'s are' if len(nodes) != 1 else ' is'} connected. {MORE_NODES}"
            )
        say(f"waiting for nodes: {len(nodes)} of {needed} connected, {left:.0f} s before giving up")
        time.sleep(min(5.0, left))


def ask_clients(grid: Grid, nodes: tuple[int, ...], needed: int, timeout: float) -> dict[int, int]:
    """Ask every node which client it is.

    Returns
    -------
    dict[int, int]
        Client to node, by ascending client.

    Raises
    ------
    RunError
        If two nodes claim the same client, or too few answer.
    """
    content = RecordDict({"config": ConfigRecord({"stage": 1})})
    messages = [Message(content, node, HELLO_QUERY, ttl=timeout) for node in nodes]
    found: dict[int, int] = {}
    reasons: list[str] = []
    for reply in grid.send_and_receive(messages, timeout=timeout):
        if reply.has_error():
            reasons.append(reply.error.reason)
            continue
        client = int(reply.content.metric_records["metrics"]["client"])  # type: ignore[arg-type]
        node = reply.metadata.src_node_id
        if client in found:
            raise RunError(
                f"Nodes {found[client]} and {node} both say that they are client {client}. Give "
                "each SuperNode a partition-id of its own in --node-config."
            )
        found[client] = node
    if len(found) < needed:
        why = f" The first answered: {reasons[0]}" if reasons else ""
        raise RunError(
            f"clients-per-round = {needed}, but only {len(found)} of {len(nodes)} nodes said which "
            f"client they are within {timeout:.0f} s.{why} {MORE_NODES}"
        )
    return dict(sorted(found.items()))
