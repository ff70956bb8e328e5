"""What has come back of the messages of one round."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flwr.app import Message

from server_app.guard import LOSS, SECONDS, cleaned, examples_by_task, expected, judge
from server_app.norms import change_norms, outliers
from server_app.plan import RoundPlan
from server_app.sizes import array_bytes
from server_app.skipped import SkippedSamples
from server_app.wire import Wire, WireError
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
    wire : Wire
        How arrays travelled.
    noise : float
        Standard deviation of what clients add to each value.
    skipped : SkippedSamples, optional
        Tells what clients left out; of this round alone if None.

    Attributes
    ----------
    accepted : dict[int, Message]
        Client to its good reply, in order of arrival.
    rejected : dict[int, str]
        Client to the reason why its work is not used.
    quarantined : set[int]
        Those of the rejected who delivered something that the guard refused.
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
        wire: Wire,
        noise: float = 0.0,
        skipped: SkippedSamples | None = None,
    ) -> None:
        self._skipped = skipped or SkippedSamples()
        self._sent = {clients[message.metadata.dst_node_id]: message for message in sent}
        self._nodes = {client: node for node, client in clients.items()}
        self._wire = wire
        self._noise = noise
        self._norms: dict[int, dict[str, float]] = {}
        self.quarantined: set[int] = set()
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
        """Judge one reply, keep it or reject its client, and report it.

        Who answers twice counts once: what comes after the first reply is left aside.
        """
        # By the message it answers: for a node that is gone the SuperLink answers in its own name.
        wanted = reply.metadata.reply_to_message_id
        client = next((c for c, m in self._sent.items() if m.metadata.message_id == wanted), None)
        if client is None or client in self.accepted or client in self.rejected:
            self._tell("reply-left-aside", node=reply.metadata.src_node_id, client=client)
            return
        size = array_bytes(reply)
        self.up += size
        started = time.perf_counter()
        sent = self._sent[client]
        try:
            plain = reply if reply.has_error() else self._wire.decode(sent, reply)
            tasks = self._plan.tasks[client]
            problem = judge(sent, plain, self._most_examples, tasks, self._noise)
        except WireError as error:
            problem = str(error)
        if problem is None:
            found = plain.content.array_records
            self._norms[client] = change_norms(expected(sent), found)
            self._accept(client, plain, size)
        else:
            self.reject(client, problem, quarantined=not reply.has_error(), bytes=size)
        self.guard_seconds += time.perf_counter() - started

    def refuse_outliers(self, factor: float) -> None:
        """Quarantine who moved more than ``factor`` times the median; for when all have come."""
        for client, outlier in sorted(outliers(self._norms, factor).items()):
            del self.accepted[client]
            figures = {"norm": outlier.norm, "median": outlier.median}
            self.reject(client, outlier.reason, quarantined=True, **figures)

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
            **self._sizes(client),
        )
        self._skipped.take(client, reply, self._tell)

    def reject(self, client: int, reason: str, quarantined: bool = False, **figures: float) -> None:
        """Leave a client out of the round; the first reason counts.

        Parameters
        ----------
        client : int
            The client.
        reason : str
            Why.
        quarantined : bool
            Whether it delivered something, and that was refused.
        **figures : float
            Numbers that the ledger is to have beside the reason.
        """
        if client in self.rejected:
            return
        self.rejected[client] = reason
        self.trained.pop(client, None)
        if quarantined:
            self.quarantined.add(client)
        self._tell(
            "client-rejected",
            client=client,
            node=self._nodes.get(client),
            reason=reason,
            quarantined=quarantined,
            **figures,
            **self._sizes(client),
        )

    def _sizes(self, client: int) -> dict[str, int]:
        sent = self._sent.get(client)
        return {} if sent is None else {"bytes-down": self._wire.size(sent)}

    def reject_silent(self, reason: str) -> None:
        """Leave out the clients that have not answered."""
        for client in self.missing:
            self.reject(client, reason)

    @property
    def missing(self) -> list[int]:
        """Clients that have not answered, ascending."""
        return [c for c in sorted(self._sent) if c not in self.accepted | self.rejected]

    @property
    def down(self) -> int:
        """Bytes of arrays that were sent."""
        return sum(self._wire.size(message) for message in self._sent.values())

    @property
    def usable(self) -> list[Message]:
        """The good replies by ascending client: sums of floats depend on their order."""
        return [self.accepted[client] for client in sorted(self.accepted)]
