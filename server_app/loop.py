"""The loop: stages, rounds, and the strategy's four hooks between them.

Flower's ``Strategy.start`` has no stages, waits without limit and keeps nothing on disk. This loop
drives the same hooks of any Flower strategy: configure, send and wait, guard, aggregate, save; and
after each stage it evaluates.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fcit_app.config import RunConfig
from fcit_app.data.stages import Stage
from fcit_app.errors import RunError
from server_app.exchange import exchange
from server_app.guard import judge
from server_app.journal import Journal
from server_app.sampling import draw_participants
from strategies.grid_view import GridView


@dataclass
class Totals:
    """What adds up over a run: seconds per phase, bytes, and who trained which subspace."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    up: int = 0
    down: int = 0
    samples: dict[int, dict[str, dict[int, int]]] = field(default_factory=dict)
    """Subspace to stage name to client to its number of samples."""

    def overhead(self) -> str:
        """Share of the rounds' time that no client spent training, by phase."""
        own = {phase: value for phase, value in self.seconds.items() if phase != "guard"}
        training = own.pop("train", 0.0)
        own["transport"] = own.pop("wait", 0.0) - training
        total = training + sum(own.values())
        shares = ", ".join(f"{phase} {100 * v / total:.1f} %" for phase, v in sorted(own.items()))
        outside = 100 * (1 - training / total)
        return f"outside client training: {outside:.1f} % of the rounds' time ({shares})"


class Federation:
    """The clients of a run and one strategy that trains with them, round after round.

    Parameters
    ----------
    grid : Grid
        Flower's grid.
    nodes : Mapping[int, int]
        Client to node.
    strategy : Strategy
        Any Flower strategy; only its public hooks are used.
    config : RunConfig
        The run's configuration.
    journal : Journal
        Where events go.

    Attributes
    ----------
    totals : Totals
        Seconds, bytes and sample counts so far.
    """

    def __init__(
        self,
        grid: Grid,
        nodes: Mapping[int, int],
        strategy: Strategy,
        config: RunConfig,
        journal: Journal,
    ) -> None:
        self.grid = grid
        self.nodes = dict(nodes)
        self.clients = {node: client for client, node in self.nodes.items()}
        self.strategy = strategy
        self.config = config
        self.journal = journal
        self.totals = Totals()

    def train_round(
        self,
        arrays: ArrayRecord,
        stage: Stage,
        number: int,
        save: Callable[[ArrayRecord], None],
    ) -> ArrayRecord:
        """Run one round of a stage.

        Parameters
        ----------
        arrays : ArrayRecord
            The global record.
        stage : Stage
            The stage, its number sent to clients so that they know which data to use.
        number : int
            Round within the stage, from 1.
        save : Callable[[ArrayRecord], None]
            Keeps the new global record.

        Returns
        -------
        ArrayRecord
            The new global record.

        Raises
        ------
        RunError
            If no client delivered a usable reply.
        """
        overall = (stage.number - 1) * self.config.rounds + number
        participants = draw_participants(
            self.nodes, self.config.clients_per_round, self.config.seed, stage.number, number
        )
        self.journal.write(
            "round-started", stage=stage.number, round=number, participants=list(participants)
        )
        seconds: dict[str, float] = {}
        with _timed(seconds, "configure"):
            view = GridView(self.grid, [self.nodes[client] for client in participants])
            settings = ConfigRecord({"stage": stage.number, "round": number})
            sent = list(self.strategy.configure_train(overall, arrays, settings, view))
        plan = _Plan(self, stage, number, sent)
        with _timed(seconds, "wait"):
            exchange(self.grid, sent, self.config.client_timeout, plan.arrived)
        # Guarding happens while replies come in; it is a share of the time spent waiting.
        seconds["guard"] = plan.guard_seconds
        for client in sorted(plan.silent()):
            plan.reject(client, f"no reply within {self.config.client_timeout:.0f} s")
        with _timed(seconds, "aggregate"):
            good = plan.accepted
            merged, _ = self.strategy.aggregate_train(overall, good) if good else (None, None)
        for rejection in getattr(self.strategy, "rejected", ()):
            # Whom the guard turned away, the strategy misses: that is not a second reason.
            client = self.clients.get(rejection.node)
            if client is not None and client not in plan.rejected:
                self.reject(stage, number, client, rejection.reason)
        if merged is None:
            raise RunError(
                f"Stage {stage.number} ({stage.name}), round {number}: none of the clients "
                f"{list(participants)} delivered a usable reply. The reasons are in the ledger; "
                f"the first: {plan.first_reason or 'not given'}"
            )
        with _timed(seconds, "save"):
            save(merged)
        self._count(stage, plan)
        self._finish(stage, number, seconds, plan)
        return merged

    def reject(self, stage: Stage, number: int, client: int, reason: str) -> None:
        """Report that a client's work is not used in a round."""
        self.journal.write(
            "client-rejected", stage=stage.number, round=number, client=client, reason=reason
        )

    def _count(self, stage: Stage, plan: _Plan) -> None:
        for client, (subspace, examples) in plan.trained.items():
            stages = self.totals.samples.setdefault(subspace, {})
            stages.setdefault(stage.name, {})[client] = examples

    def _finish(self, stage: Stage, number: int, seconds: dict[str, float], plan: _Plan) -> None:
        # A round lasts as long as its slowest client; the rest of the wait is the federation's.
        seconds["train"] = min(plan.slowest, seconds["wait"])
        for phase, value in seconds.items():
            self.totals.seconds[phase] += value
        self.totals.up += plan.up
        self.totals.down += plan.down
        self.journal.write(
            "round-finished",
            stage=stage.number,
            round=number,
            seconds={phase: round(value, 4) for phase, value in seconds.items()},
            bytes={"up": plan.up, "down": plan.down},
        )


class _Plan:
    """What was sent in one round, and what has come back of it so far."""

    def __init__(
        self, federation: Federation, stage: Stage, number: int, sent: Sequence[Message]
    ) -> None:
        self.federation = federation
        self.stage, self.number = stage, number
        self.sent = {message.metadata.dst_node_id: message for message in sent}
        self.down = sum(_array_bytes(message) for message in sent)
        self.up = 0
        self.answered: set[int] = set()
        self.accepted: list[Message] = []
        self.rejected: set[int] = set()
        self.trained: dict[int, tuple[int, int]] = {}
        self.slowest = 0.0
        self.guard_seconds = 0.0
        self.first_reason: str | None = None

    def arrived(self, reply: Message) -> None:
        """Judge a reply as it comes in, and report it."""
        node = self._node_of(reply)
        if node is None:
            return
        self.answered.add(node)
        sent = self.sent[node]
        client = self.federation.clients[node]
        started = time.perf_counter()
        problem = judge(sent, reply)
        self.guard_seconds += time.perf_counter() - started
        if problem:
            self.reject(client, problem)
            return
        self.accepted.append(reply)
        size = _array_bytes(reply)
        self.up += size
        metrics = reply.content.metric_records["metrics"]
        examples = int(metrics["num-examples"])  # type: ignore[arg-type]
        seconds = float(metrics.get("seconds", 0.0))  # type: ignore[arg-type]
        self.slowest = max(self.slowest, seconds)
        subspace = int(sent.content.config_records["config"].get("subspace", 0))  # type: ignore[arg-type]
        self.trained[client] = (subspace, examples)
        self.federation.journal.write(
            "client-replied",
            stage=self.stage.number,
            round=self.number,
            client=client,
            subspace=subspace,
            loss=round(float(metrics["train-loss"]), 6),  # type: ignore[arg-type]
            examples=examples,
            seconds=round(seconds, 3),
            bytes=size,
        )

    def reject(self, client: int, reason: str) -> None:
        """Leave a client out of this round."""
        self.rejected.add(client)
        self.first_reason = self.first_reason or f"client {client}: {reason}"
        self.federation.reject(self.stage, self.number, client, reason)

    def silent(self) -> list[int]:
        """Clients that have not answered."""
        return [self.federation.clients[node] for node in self.sent if node not in self.answered]

    def _node_of(self, reply: Message) -> int | None:
        # The SuperLink answers in its own name for a node that is gone: go by the message.
        for node, message in self.sent.items():
            if message.metadata.message_id == reply.metadata.reply_to_message_id:
                return node
        return None


def _array_bytes(message: Message) -> int:
    if not message.has_content():
        return 0
    return sum(record.count_bytes() for record in message.content.array_records.values())


@contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[phase] = time.perf_counter() - started
