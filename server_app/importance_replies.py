"""What comes back of the importance query: judged before the strategy sees it, and counted."""

from __future__ import annotations

from collections.abc import Mapping

from flwr.app import Error, Message

from server_app.guard import judge_importance
from server_app.replies import array_bytes

_REFUSED = 0
"""Code of our error replies: Flower's "unknown"."""


class ImportanceReplies:
    """Passes the answers of a stage's last participants on, bad ones as error replies.

    Parameters
    ----------
    clients : Mapping[int, int]
        Node to the client that it said it is when the run began.
    most_examples : int
        More training samples than this no client can have.

    Attributes
    ----------
    accepted : set[int]
        Clients whose answer is used.
    rejected : dict[int, str]
        Client to the reason why its answer is not used.
    up, down : int
        Bytes of arrays that came, and that went to the clients who answered.
    """

    def __init__(self, clients: Mapping[int, int], most_examples: int) -> None:
        self._clients = clients
        self._most_examples = most_examples
        self.accepted: set[int] = set()
        self.rejected: dict[int, str] = {}
        self.up = 0
        self.down = 0

    def inspect(self, message: Message, reply: Message) -> Message:
        """Give the reply, or an error reply with the reason not to use it."""
        self.up += array_bytes(reply)
        self.down += array_bytes(message)
        client = self._clients[message.metadata.dst_node_id]
        problem = judge_importance(message, reply, client, self._most_examples)
        if problem is None:
            self.accepted.add(client)
            return reply
        self.rejected[client] = problem
        return Message(Error(_REFUSED, problem), reply_to=message)
