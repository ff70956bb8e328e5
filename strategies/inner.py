"""One of Flower's strategies in charge of one part of the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, ConfigRecordValues, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fcit_app.errors import RunError
from strategies.grid_view import GridView
from strategies.records import to_arrays, to_record
from strategies.snapshot import restore, state_of

# More often than any strategy needs to ask for its nodes in one call; one that waits for more of
# them asks once a second.
_PATIENCE = 10


@dataclass(frozen=True)
class Instruction:
    """What an inner strategy wants one node to do.

    Attributes
    ----------
    message_type : str
        Type of its message.
    arrays : ArrayRecord
        The part of the model it sends.
    config : dict
        Its configuration.
    """

    message_type: str
    arrays: ArrayRecord
    config: dict[str, ConfigRecordValues]


@dataclass
class InnerStrategy:
    """A stock strategy that believes its part and its nodes are all there is.

    Attributes
    ----------
    strategy : Strategy
        Any Flower strategy, with its own state.
    rounds : int
        Rounds it has aggregated. It counts its own, since FedAdam's bias correction goes by the
        round's number.
    """

    strategy: Strategy
    rounds: int = 0

    def configure(
        self, arrays: ArrayRecord, config: ConfigRecord, grid: Grid, nodes: Iterable[int]
    ) -> dict[int, Instruction]:
        """Instructions for the nodes the strategy selects among `nodes`.

        Raises
        ------
        RunError
            If the strategy waits for more nodes than there are, or sends other than one record.
        """
        view = GridView(grid, nodes, patience=_PATIENCE)
        # Strategies write into the config they are given and may keep the arrays.
        messages = self.strategy.configure_train(
            self.rounds + 1, arrays.copy(), config.copy(), view
        )
        instructions: dict[int, Instruction] = {}
        for message in messages:
            merged: dict[str, ConfigRecordValues] = {}
            for record in message.content.config_records.values():
                merged |= dict(record)
            parts = list(message.content.array_records.values())
            if len(parts) != 1:
                raise RunError(
                    f"{type(self.strategy).__name__} sends {len(parts)} ArrayRecords a message; "
                    "an inner strategy must send exactly one, the part it is in charge of."
                )
            kind, node = message.metadata.message_type, message.metadata.dst_node_id
            instructions[node] = Instruction(kind, parts[0], merged)
        return instructions

    def aggregate(self, replies: Sequence[Message], names: Iterable[str]) -> ArrayRecord | None:
        """Let the strategy merge replies; counts as one of its rounds.

        Parameters
        ----------
        replies : Sequence[Message]
            Replies with one ArrayRecord and one MetricRecord each, in a fixed order.
        names : Iterable[str]
            Array names of the part, in the order wanted.

        Returns
        -------
        ArrayRecord or None
            float32 (FedAdam answers in float64), or None if the strategy made nothing of them.
        """
        merged, _ = self.strategy.aggregate_train(self.rounds + 1, replies)
        if merged is None:
            return None
        self.rounds += 1
        arrays = to_arrays(merged)
        return to_record({name: arrays[name] for name in names})

    def state_dict(self) -> dict[str, Any]:
        """Give the rounds and the strategy's state, see `strategies.snapshot`."""
        return {"rounds": self.rounds, "strategy": dict(state_of(self.strategy))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another one was; this one is fresh."""
        self.rounds = state["rounds"]
        restore(self.strategy, state["strategy"])
