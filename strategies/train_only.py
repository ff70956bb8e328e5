"""What strategies have in common that train with clients and leave scoring to the server app."""

from __future__ import annotations

from collections.abc import Iterable

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy


class TrainOnly(Strategy):
    """A strategy whose rounds have no evaluation by clients."""

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """No message: the bank is evaluated as a whole, after each stage, by the server app."""
        return []

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """None: nothing is evaluated in rounds."""
        return None
