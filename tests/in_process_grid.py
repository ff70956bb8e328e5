"""An in-process Flower grid for tests: no Ray, no SuperLink, milliseconds a round.

The one place that touches a private name of Flower's (`TaskIdentity`, without which no Message can
be made outside a run) and that sets message ids as Flower's own grids do.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

SUPERLINK = 1
Failure = Callable[[int, Message], str | None]
Reorder = Callable[[list[Message]], list[Message]]


class InProcessGrid(Grid):
    """Calls a ClientApp directly, one context per node.

    Parameters
    ----------
    client_app : ClientApp
        Run for every message.
    partitions : Sequence[int] or int
        Partition id of each node (also its stable client id), or how many nodes there are.
    nodes : Sequence[int], optional
        Node ids in the order shown; 1000, 1001, ... if None.
    fail : callable, optional
        (partition, message) to None, "error" (the node's), "superlink" (the SuperLink's, in its own
        name) or "silent" (no reply).
    reorder : callable, optional
        Order of arrival of the replies.
    """

    def __init__(
        self,
        client_app: ClientApp,
        partitions: Sequence[int] | int,
        nodes: Sequence[int] | None = None,
        fail: Failure = lambda partition, message: None,
        reorder: Reorder = lambda replies: replies,
        run_config: dict[str, Any] | None = None,
    ) -> None:
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, SUPERLINK, 1
        if isinstance(partitions, int):
            partitions = range(partitions)
        if nodes is None:
            nodes = range(1000, 1000 + len(partitions))
        self.sent: list[Message] = []
        self.fail = fail
        self.reorder = reorder
        self._client_app = client_app
        self._replies: dict[str, Message] = {}
        self._ids = itertools.count(1)
        self.contexts = {
            node: Context(
                run_id=1,
                node_id=node,
                node_config={"partition-id": partition, "num-partitions": len(partitions)},
                state=RecordDict(),
                run_config=dict(run_config or {}),
            )
            for node, partition in zip(nodes, partitions, strict=True)
        }

    def partition(self, node: int) -> int:
        """Partition id of a node."""
        return int(self.contexts[node].node_config["partition-id"])

    def sent_of(self, message_type: str) -> list[Message]:
        """Messages of one type sent so far."""
        return [m for m in self.sent if m.metadata.message_type == message_type]

    def set_run(self, run: Any) -> None:
        """Nothing to set."""

    @property
    def run(self) -> Any:
        """No run."""
        return None

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """All nodes."""
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Run the ClientApp for each message."""
        ids = []
        for message in messages:
            message_id = f"message-{next(self._ids)}"
            message.metadata.__dict__["_message_id"] = message_id
            self.sent.append(message)
            ids.append(message_id)
            context = self.contexts[message.metadata.dst_node_id]
            failure = self.fail(self.partition(context.node_id), message)
            if failure == "silent":
                continue
            self._replies[message_id] = self._reply(message, context, failure)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Replies that are there, in the order of arrival."""
        found = [self._replies.pop(i) for i in list(message_ids) if i in self._replies]
        return self.reorder(found)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Push and pull."""
        return self.pull_messages(self.push_messages(messages))

    def _reply(self, message: Message, context: Context, failure: str | None) -> Message:
        if failure is not None:
            reply = Message(Error(code=2, reason="injected failure"), reply_to=message)
            if failure == "superlink":
                reply.metadata.__dict__["_src_node_id"] = SUPERLINK
            return reply
        # The wire copies: a client that alters its records must not reach the server's.
        received = copy.copy(message)
        received.content = RecordDict({k: r.copy() for k, r in message.content.items()})
        try:
            return self._client_app(message=received, context=context)
        except Exception as error:  # Flower turns whatever a ClientApp raises into an error reply.
            return Message(Error(code=2, reason=repr(error)), reply_to=message)
