"""Any continual-learning method around one stock aggregator, as a Flower strategy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flwr.app import (
    ArrayRecord,
    ConfigRecord,
    Message,
    MessageType,
    Metadata,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fcit_app.arrays import Arrays
from fcit_app.errors import ConfigError, RunError
from fcit_app.methods.state import Importance, State, flat_memory
from strategies.continual_record import read_state, write_state
from strategies.inner import InnerStrategy
from strategies.quiet import LOGGER, without_warnings
from strategies.records import (
    CLIENT,
    CONFIG,
    IMPORTANCE,
    MEMORY,
    METRICS,
    NUM_EXAMPLES,
    packed,
    part_of,
    to_arrays,
    to_record,
    unpacked,
)
from strategies.replies import (
    Rejection,
    common_metrics,
    mean_metrics,
    problem_of_parts,
    replies_by_node,
)
from strategies.single import initial_single
from strategies.train_only import TrainOnly

if TYPE_CHECKING:  # it imports torch
    from fcit_app.methods.base import Method

IMPORTANCE_QUERY = f"{MessageType.QUERY}.{IMPORTANCE}"
"""Asks for a method's importances; a ClientApp answers it with `@app.query("importance")`."""

_ARRAYS = "arrays"


@dataclass(frozen=True)
class _Round:
    """What was sent and to whom; kept from configure_train to aggregate_train."""

    state: State
    record: ArrayRecord
    sent: tuple[Metadata, ...]


class Continual(TrainOnly):
    """One adapter (and projector) in training at a time, and a memory of the earlier stages.

    The inner Flower strategy sees adapter and projector in one record, as a stock strategy alone
    would (`finetune`); the memory travels beside it, to the clients only. The global ArrayRecord is
    the method's whole state (see `strategies.continual_record`). The order of nodes makes no
    difference; the order of replies is the caller's.

    Parameters
    ----------
    method : Method
        Says what happens at the beginning and end of a stage.
    inner : Callable[[], Strategy]
        Makes the aggregator: once, and anew whenever the method begins with a fresh adapter. The
        projector's part of the aggregator's state begins anew with it.
    new_adapter : Callable[[int], Arrays]
        Draws the initial adapter of the stage with this number, from 0.

    Attributes
    ----------
    rejected : list[Rejection]
        Whose work was not used in the latest round, and why.
    """

    def __init__(
        self,
        method: Method,
        inner: Callable[[], Strategy],
        new_adapter: Callable[[int], Arrays],
    ) -> None:
        self.method = method
        self.inner = inner
        self.new_adapter = new_adapter
        self.rejected: list[Rejection] = []
        self._inner = self._make_inner()
        self._round: _Round | None = None

    @property
    def wants_finish(self) -> bool:
        """Whether `finish_stage` has anything to ask."""
        return self.method.wants_importance

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Open the stage if it is a new one, and let the aggregator configure the round.

        Returns
        -------
        list[Message]
            `{"arrays", "memory" (if there is one), "config" (+ "subspace")}`, only `arrays` is
            expected back.

        Raises
        ------
        ConfigError
            If `config["stage"]` is no whole number from 1.
        ModelError
            If the arrays are no state.
        """
        state = self._open(read_state(arrays), config.get("stage", 1))
        record = initial_single(state.adapter, state.projector)
        memory = to_record(flat_memory(state.memory))
        # Whose samples these are in the run's account: those of the adapter in training.
        subspace = self.method.bank(state).subspaces[-1].identifier
        instructions = self._inner.configure(record, config, grid, grid.get_node_ids())
        messages = []
        for node, instruction in instructions.items():
            settings = dict(config) | instruction.config
            settings |= {"server-round": server_round, "subspace": subspace}
            content = RecordDict({_ARRAYS: instruction.arrays, CONFIG: ConfigRecord(settings)})
            if memory:
                content[MEMORY] = memory
            group = str(server_round)
            messages.append(Message(content, node, instruction.message_type, group_id=group))
        self._round = _Round(state, record, tuple(message.metadata for message in messages))
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Merge the replies; both None if nobody delivered.

        Raises
        ------
        RunError
            If no round was configured.
        """
        if self._round is None:
            raise RunError("aggregate_train was called before configure_train.")
        plan, self._round, self.rejected = self._round, None, []
        usable = self._usable(plan, list(replies))
        counts = {node: _examples(reply) for node, reply in usable.items()}
        metrics = common_metrics(usable, counts)
        merged = None
        if usable:
            parts = [part_of(r, _ARRAYS, metrics[n], plan.record) for n, r in usable.items()]
            merged = self._inner.aggregate(parts, plan.record)
        if merged is None:
            return None, None
        # Stage and memory are the method's: what the aggregator merged replaces the rest.
        return ArrayRecord({**write_state(plan.state), **merged}), mean_metrics(metrics)

    def finish_stage(
        self, arrays: ArrayRecord, config: ConfigRecord, grid: Grid, timeout: float
    ) -> ArrayRecord:
        """Ask the grid's nodes for importances, and close the stage with those that came.

        Parameters
        ----------
        arrays : ArrayRecord
            The global record after the stage's last round.
        config : ConfigRecord
            Copied to every client; "stage" tells the stage that ends.
        grid : Grid
            Its nodes are asked; bad answers must have become error replies.
        timeout : float
            Seconds to wait.

        Returns
        -------
        ArrayRecord
            The new global record; the same if nobody answered.
        """
        state = read_state(arrays)
        record = packed(initial_single(state.adapter, state.projector))
        messages = []
        for node in grid.get_node_ids():
            content = RecordDict({_ARRAYS: record, CONFIG: config.copy()})
            messages.append(Message(content, node, IMPORTANCE_QUERY, ttl=timeout))
        sent = [message.metadata for message in messages]
        replies, _ = replies_by_node(sent, grid.send_and_receive(messages, timeout=timeout))
        # Sums of floats depend on their order; node numbers change from run to run.
        ordered = sorted(replies.values(), key=_client)
        if not ordered:
            return arrays
        return write_state(self.method.close_stage(state, [_importance(r) for r in ordered]))

    def summary(self) -> None:
        """Log the method's name, with the aggregator's settings below."""
        LOGGER.info("├──> Method %s around:", self.method.config.method)
        self._make_inner().strategy.summary()

    def state_dict(self) -> dict[str, Any]:
        """Give the aggregator's state between two rounds; the method's is the global record."""
        return self._inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another instance with the same parameters was; this one is fresh."""
        self._inner.load_state_dict(state)

    def _open(self, state: State, stage: object) -> State:
        if isinstance(stage, bool) or not isinstance(stage, int) or stage < 1:
            raise ConfigError([f'config["stage"] is {stage!r}: must be a whole number from 1.'])
        if stage == state.stage:
            return state
        opened = self.method.open_stage(state, stage, lambda: self.new_adapter(stage - 1))
        if opened.adapter is not state.adapter:
            self._inner = self._make_inner()
        return opened

    def _make_inner(self) -> InnerStrategy:
        with without_warnings():
            return InnerStrategy(self.inner())

    def _usable(self, plan: _Round, replies: list[Message]) -> dict[int, Message]:
        """Node to usable reply, in the order of the replies; the others are noted."""
        good, failed = replies_by_node(plan.sent, replies)
        for node, reply in list(good.items()):
            problem = problem_of_parts(reply, {_ARRAYS: plan.record})
            if problem is None and _examples(reply) < 1:
                problem = f"{NUM_EXAMPLES} is no whole number from 1"
            if problem is not None:
                failed[node] = problem
                del good[node]
        self.rejected = [Rejection(node, None, "train", why) for node, why in failed.items()]
        place = {id(reply): number for number, reply in enumerate(replies)}
        return dict(sorted(good.items(), key=lambda entry: place[id(entry[1])]))


def _examples(reply: Message) -> int:
    found = reply.content.metric_records.get(METRICS, MetricRecord()).get(NUM_EXAMPLES)
    return found if isinstance(found, int) else 0


def _client(reply: Message) -> int:
    found: Mapping[str, object] = reply.content.metric_records[METRICS]
    client = found[CLIENT]
    assert isinstance(client, int)
    return client


def _importance(reply: Message) -> Importance:
    record = unpacked(reply.content.array_records[IMPORTANCE])
    arrays = {key.partition("/")[2]: array for key, array in to_arrays(record).items()}
    return Importance(arrays, _examples(reply))
