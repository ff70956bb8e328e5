"""Flower's strategies by the name a user gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flwr.serverapp.strategy import FedAvg, Strategy

from fcit_app.errors import ConfigError
from strategies.quiet import without_warnings

AGGREGATORS: dict[str, Callable[..., Strategy]] = {
    "fedavg": FedAvg,
}
"""Name to strategy class; a new aggregator is one more line."""

# All nodes of a view take part, a subspace may have a single client, and evaluation is not
# Flower's federated one.
_SAMPLING: dict[str, Any] = {
    "fraction_train": 1.0,
    "fraction_evaluate": 0.0,
    "min_train_nodes": 1,
    "min_evaluate_nodes": 0,
    "min_available_nodes": 1,
}


def make_aggregator(name: str) -> Callable[[], Strategy]:
    """Give the factory of a Flower strategy.

    Parameters
    ----------
    name : str
        One of `AGGREGATORS`.

    Returns
    -------
    Callable[[], Strategy]
        Makes a fresh strategy, with its own state, at each call.

    Raises
    ------
    ConfigError
        If the name is not known.
    """
    if name not in AGGREGATORS:
        allowed = ", ".join(sorted(AGGREGATORS))
        raise ConfigError(f'aggregator = "{name}": the aggregator must be one of {allowed}.')

    def make() -> Strategy:
        with without_warnings():
            return AGGREGATORS[name](**_SAMPLING)

    return make
