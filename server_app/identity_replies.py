"""What comes back of the identity query: judged before the strategy sees it, and counted."""

from __future__ import annotations

from collections.abc import Mapping

from flwr.app import Error, Message

from server_app.guard import judge_identity
from server_app.replies import array_bytes
from strategies.identities import IDENTITY_QUERY

_REFUSED = 0
"""Code of our error replies: Flower's "unknown"."""


class IdentityReplies:
    """Passes the answers of a round's participants on, bad ones as error replies.

    Parameters
    ----------
    clients : Mapping[int, int]
        Node to the client that it said it is when the run began.
    most_examples : int
        More training samples than this no client can have.
    most_prototypes : int
        More prototypes than this no client was asked for.

    Attributes
    ----------
    up : int
        Bytes of tokens that came.
    """

    def __init__(
        self, clients: Mapping[int, int], most_examples: int, most_prototypes: int = 0
    ) -> None:
        self._clients = clients
        self._most_examples = most_examples
        self._most_prototypes = most_prototypes
        self.up = 0

    def inspect(self, message: Message, reply: Message) -> Message:
        """Give the reply, or an error reply with the reason not to use it."""
        if message.metadata.message_type != IDENTITY_QUERY:
            return reply
        self.up += array_bytes(reply)
        client = self._clients[message.metadata.dst_node_id]
        problem = judge_identity(reply, client, self._most_examples, self._most_prototypes)
        if problem is None:
            return reply
        return Message(Error(_REFUSED, problem), reply_to=message)
