"""Who is here: between rounds, clients that came, left or returned under another node number.

A SuperNode gets a new node number at each connection (an authenticated one keeps its own), so what
counts is the client that it says it is. If two nodes say that they are the same client, the one
that answered later counts: a SuperNode that was killed looks connected for another minute, and its
successor must not have to wait for that. Who may connect at all is decided by SuperNode
authentication (docs/deploy.md), not here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from server_app.nodes import HELLO_QUERY, ClientNodes, Hello, read_hello

ANSWER_WITHIN = 30.0
"""Seconds that a round waits for newcomers to say who they are; later ones join a later round."""

_PAUSE = 0.2


class Roster:
    """Client to node, as of the latest look.

    Parameters
    ----------
    grid : Grid
        Where the nodes are.
    nodes : ClientNodes
        Client to node when the run began; the nodes that were asked then are not asked again.
    say : Callable[[str], None]
        Takes remarks for the user.
    """

    def __init__(self, grid: Grid, nodes: ClientNodes, say: Callable[[str], None]) -> None:
        self._grid = grid
        self._say = say
        self._nodes = dict(nodes)
        self._shares = nodes.shares
        self._stages = nodes.stages
        self._private = nodes.private
        self._asked = {*nodes.values(), *nodes.left_out}
        self._open: dict[str, int] = {}
        self._away: set[int] = set()

    @property
    def nodes(self) -> dict[int, int]:
        """Client to its latest node, of all that ever were here, by ascending client."""
        return dict(sorted(self._nodes.items()))

    def present(self, least: int, ttl: float) -> dict[int, int]:
        """Look who is here now.

        Parameters
        ----------
        least : int
            Clients wanted. If fewer are here, all that ever were are given: those away are drawn
            as well then, and rejected because they do not answer.
        ttl : float
            Seconds after which a question that reached nobody is dropped.

        Returns
        -------
        dict[int, int]
            Client to node, by ascending client.
        """
        online = set(self._grid.get_node_ids())
        self._greet(online - self._asked, ttl)
        here = {client: node for client, node in self.nodes.items() if node in online}
        self._tell_absence(set(self._nodes) - set(here))
        return here if len(here) >= least else self.nodes

    def _greet(self, newcomers: Iterable[int], ttl: float) -> None:
        """Ask new nodes who they are, and take in what has been answered."""
        messages = [Message(RecordDict(), node, HELLO_QUERY, ttl=ttl) for node in sorted(newcomers)]
        if messages:
            ids = list(self._grid.push_messages(messages))
            for key, message in zip(ids, messages, strict=True):
                self._asked.add(message.metadata.dst_node_id)
                if key:
                    self._open[key] = message.metadata.dst_node_id
        end = time.monotonic() + (ANSWER_WITHIN if messages else 0.0)
        while self._open:
            for reply in list(self._grid.pull_messages(sorted(self._open))):
                node = self._open.pop(reply.metadata.reply_to_message_id, None)
                if node is not None:
                    self._enter(read_hello(reply, node, self._stages))
            if not self._open or time.monotonic() >= end:
                return
            time.sleep(_PAUSE)

    def _enter(self, hello: Hello | str) -> None:
        if isinstance(hello, str):
            self._say(f"a new node takes no part: {hello}")
            return
        if hello.clients != self._shares or not 0 <= hello.client < self._shares:
            self._say(
                f"a new node takes no part: it says that it is client {hello.client} of "
                f"{hello.clients}, and the run has clients 0 to {self._shares - 1}. Give its "
                f"SuperNode num-partitions={self._shares} in --node-config."
            )
            return
        if hello.private != self._private.get(hello.client):
            self._say(
                f"a new node takes no part: client {hello.client} has another task of its own than "
                "when the run began. Start its SuperNode with the same --node-config."
            )
            return
        before = self._nodes.get(hello.client)
        self._nodes[hello.client] = hello.node
        self._away.discard(hello.client)
        how = "joins" if before is None else "is back under another node number"
        self._say(f"client {hello.client} {how}")

    def _tell_absence(self, away: set[int]) -> None:
        for client in sorted(away - self._away):
            self._say(f"client {client} is away: its node is not connected")
        for client in sorted(self._away - away):
            self._say(f"client {client} is back")
        self._away = away
