"""Who was matched with which subspace, and how closely: for the ledger."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from flwr.serverapp.strategy import Strategy

from server_app.replies import Tell


@runtime_checkable
class Matching(Protocol):
    """A strategy that matches clients with subspaces."""

    @property
    def newcomers(self) -> list[dict[str, Any]]:
        """Client, subspace and cosine of those matched in the latest round."""


def tell_newcomers(strategy: Strategy, tell: Tell) -> None:
    """Report the clients that a round has matched, if there are any.

    A client that copies another task's token to get at its subspace is seen here: it joins a
    subspace that its stage's other clients have nothing to do with.
    """
    found = strategy.newcomers if isinstance(strategy, Matching) else []
    if found:
        tell("clients-matched", clients=found)
