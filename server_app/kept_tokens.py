"""Keeping the tokens of a round's participants, for whoever wants to match them anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from flwr.serverapp.strategy import Strategy

from fcit_app.identity.tokens import IdentityToken
from fcit_app.runs.token_book import TokenBook


@runtime_checkable
class Identifying(Protocol):
    """A strategy that asks clients for identity tokens."""

    participants: dict[int, IdentityToken]


def keep_tokens(
    book: TokenBook,
    strategy: Strategy,
    place: tuple[int, int, int],
    trained: Mapping[int, tuple[int, Mapping[str, int]]],
) -> None:
    """Keep the tokens of an attempt at a round, if the strategy knows any.

    Parameters
    ----------
    book : TokenBook
        Of the run folder.
    strategy : Strategy
        After it has aggregated.
    place : tuple[int, int, int]
        Stage, round, attempt.
    trained : Mapping[int, tuple[int, Mapping[str, int]]]
        Client whose reply was merged to its subspace and its samples by task.
    """
    if not isinstance(strategy, Identifying) or not strategy.participants:
        return
    known = strategy.participants
    tokens = {client: (token.total, token.count) for client, token in known.items()}
    delivered = {
        client: [task for task, count in examples.items() if count]
        for client, (_, examples) in trained.items()
        if client in known
    }
    book.keep(place, tokens, delivered)
