"""What has come back of the messages of one round."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flwr.app import Message

from server_app.guard import LOSS, SECONDS, cleaned, examples_by_task, judge
from server_app.plan import RoundPlan
from strategies.records import CONFIG, METRICS

Tell = Callable[..., None]
"""Reports an event of the round: its name, then its fields as keywords."""


class RoundReplies:
    """Judges the replies of a round as they come in, and keeps the good ones.

    Parameters
    ----------
    sent : Sequence[Message]
        The round's messages, one a node; read after they were sent, when they have ids.
    clients : Mapping[int, int]
        Node to client.
    most_examples : int
        More training samples than this no client can have.
    plan : RoundPlan
        Says which tasks each client was given.
    tell : Tell
        Where replies are reported.

    Attributes
    ----------
    accepted : dict[int, Message]
        Client to its good reply, in order of arrival.
    rejected : dict[int, str]
        Client to the reason why its work is not used.
    trained : dict[int, tuple[int, dict[str, int]]]
        Client to the subspace it trained (0 without subspaces) and its samples by task.
    up : int
        Bytes of arrays that came.
    slowest : float
        Seconds that the slowest client with a good reply spent.
    guard_seconds : float
        Time spent judging.
    """

    def __init__(
        self,
        sent: Sequence[Message],
        clients: Mapping[int, int],
        most_examples: int,
        plan: RoundPlan,
        tell: Tell,
    ) -> None:
        self._sent = {clients[message.metadata.dst_node_id]: message for message in sent}
        self._most_examples = most_examples
        self._plan = plan
        self._tell = tell
        self.accepted: dict[int, Message] = {}
        self.rejected: dict[int, str] = {}
        self.trained: dict[int, tuple[int, dict[str, int]]] = {}
        self.up = 0
        self.slowest = 0.0
        self.guard_seconds = 0.0

    def take(self, reply: Message) -> None:
        """Judge one reply, keep it or reject its client, and report it."""
        # By the message it answers: for a node that is gone the SuperLink answers in its own name.
        wanted = reply.metadata.reply_to_message_id
        client = next(c for c, m in self._sent.items() if m.metadata.message_id == wanted)
        size = array_bytes(reply)
        self.up += size
        started = time.perf_counter()
        tasks = self._plan.tasks[client]
        problem = judge(self._sent[client], reply, self._most_examples, tasks)
        self.guard_seconds += time.perf_counter() - started
        if problem:
            self.reject(client, problem)
        else:
            self._accept(client, reply, size)

    def _accept(self, client: int, reply: Message, size: int) -> None:
        metrics = reply.content.metric_records[METRICS]
        sent: Mapping[str, Any] = self._sent[client].content.config_records[CONFIG]
        subspace = int(sent.get("subspace", 0))
        examples = examples_by_task(metrics, self._plan.tasks[client])
        told: Mapping[str, Any] = metrics
        seconds = float(told.get(SECONDS, 0.0))
        self.accepted[client] = cleaned(reply)
        self.trained[client] = (subspace, examples)
        self.slowest = max(self.slowest, seconds)
        self._tell(
            "client-replied",
            client=client,
            **self._plan.note(client),
            subspace=subspace,
            loss=round(float(told[LOSS]), 6),
            examples=sum(examples.values()),
            seconds=round(seconds, 3),
            bytes=size,
        )

    def reject(self, client: int, reason: str) -> None:
        """Leave a client out of the round; the first reason counts."""
        if client in self.rejected:
            return
        self.rejected[client] = reason
        self.trained.pop(client, None)
        self._tell("client-rejected", client=client, reason=reason)

    def reject_silent(self, reason: str) -> None:
        """Leave out the clients that have not answered."""
        for client in sorted(self._sent):
            if client not in self.accepted:
                self.reject(client, reason)

    @property
    def usable(self) -> list[Message]:
        """The good replies by ascending client: sums of floats depend on their order."""
        return [self.accepted[client] for client in sorted(self.accepted)]


def array_bytes(message: Message) -> int:
    """Bytes of the arrays in a message."""
    if not message.has_content():
        return 0
    return sum(record.count_bytes() for record in message.content.array_records.values())
