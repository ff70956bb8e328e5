"""What comes back of a query: judged before the strategy sees it, and counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flwr.app import Error, Message

from server_app.sizes import array_bytes

_REFUSED = 0
"""Code of our error replies: Flower's "unknown"."""

Judge = Callable[[Message, Message, int], str | None]
"""From a message, its reply and the client asked to what is wrong with the reply, or None."""


class QueryReplies:
    """Passes the answers to one kind of query on, bad ones as error replies.

    Parameters
    ----------
    clients : Mapping[int, int]
        Node to the client that it said it is when the run began.
    message_type : str
        The query; messages of other types pass as they are.
    judge : Judge
        Says what is wrong with an answer.

    Attributes
    ----------
    accepted : set[int]
        Clients whose answer is used.
    rejected : dict[int, str]
        Client to the reason why its answer is not used.
    refused : set[int]
        Those of the rejected whose answer had content, and a bad one.
    up, down : int
        Bytes of arrays that came, and that went to the clients who answered.
    """

    def __init__(self, clients: Mapping[int, int], message_type: str, judge: Judge) -> None:
        self._clients = clients
        self._message_type = message_type
        self._judge = judge
        self.accepted: set[int] = set()
        self.rejected: dict[int, str] = {}
        self.refused: set[int] = set()
        self.up = 0
        self.down = 0

    def inspect(self, message: Message, reply: Message) -> Message:
        """Give the reply, or an error reply with the reason not to use it."""
        if message.metadata.message_type != self._message_type:
            return reply
        self.up += array_bytes(reply)
        self.down += array_bytes(message)
        client = self._clients[message.metadata.dst_node_id]
        problem = self._judge(message, reply, client)
        if problem is None:
            self.accepted.add(client)
            return reply
        self.rejected[client] = problem
        if not reply.has_error():
            self.refused.add(client)
        return Message(Error(_REFUSED, problem), reply_to=message)
