"""Which subspace each client belongs to, decided client by client on the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fcit_app.errors import ConfigError
from fcit_app.identity.tokens import IdentityToken, cosine_matrix


@dataclass(frozen=True)
class Matching:
    """Where each client went.

    Attributes
    ----------
    joined : dict[int, int]
        Client to the position, in the bank's order, of the known subspace it joined.
    opened : tuple[tuple[int, ...], ...]
        Groups of clients that open one new subspace each; ascending inside and by smallest client.
    similarities : dict[int, tuple[float, ...]]
        Client to its cosine with every token of the bank, in the bank's order.
    """

    joined: dict[int, int] = field(default_factory=dict)
    opened: tuple[tuple[int, ...], ...] = ()
    similarities: dict[int, tuple[float, ...]] = field(default_factory=dict)


def match(
    tokens_of_bank: Sequence[IdentityToken],
    tokens_of_clients: Mapping[int, IdentityToken],
    tau: float,
) -> Matching:
    """Match clients' identity tokens with the bank's (DISCO, dynamic knowledge organisation).

    A client joins the subspace whose token is most similar to its own if that cosine is >= tau
    (the first one on a tie). The others are grouped among themselves: two clients are in one group
    if a chain of pairs with cosine >= tau links them, and each group opens one subspace. Every
    client is therefore in exactly one place, and the order of the mapping plays no part.

    Parameters
    ----------
    tokens_of_bank : Sequence[IdentityToken]
        Global token of each known subspace, all (d,).
    tokens_of_clients : Mapping[int, IdentityToken]
        Stable client id to its token, all (d,).
    tau : float
        Smallest cosine that counts as the same identity, in (0, 1].

    Raises
    ------
    ConfigError
        If tau is outside (0, 1].
    DataError
        If widths differ.
    """
    if not 0.0 < tau <= 1.0:
        raise ConfigError(f"tau = {tau!r}: a cosine threshold must be above 0 and at most 1.")
    clients = sorted(tokens_of_clients)
    if not clients:
        return Matching()
    vectors = np.stack([tokens_of_clients[client].total for client in clients])
    similarity = np.zeros((len(clients), 0), dtype=np.float64)
    if tokens_of_bank:
        bank = np.stack([token.total for token in tokens_of_bank])
        similarity = cosine_matrix(vectors, bank)

    joined: dict[int, int] = {}
    unmatched: list[int] = []
    for row, client in enumerate(clients):
        best = int(similarity[row].argmax()) if tokens_of_bank else -1
        if best >= 0 and similarity[row, best] >= tau:
            joined[client] = best
        else:
            unmatched.append(row)
    among = cosine_matrix(vectors[unmatched], vectors[unmatched]) >= tau
    groups = _connected_components(among)
    return Matching(
        joined=joined,
        opened=tuple(tuple(clients[unmatched[member]] for member in group) for group in groups),
        similarities={
            client: tuple(float(value) for value in similarity[row])
            for row, client in enumerate(clients)
        },
    )


def _connected_components(linked: NDArray[np.bool_]) -> list[list[int]]:
    """Components of a symmetric relation, ascending inside and by smallest member."""
    unseen = set(range(len(linked)))
    components: list[list[int]] = []
    for start in range(len(linked)):
        if start not in unseen:
            continue
        unseen.discard(start)
        component, frontier = [start], [start]
        while frontier:
            near = {int(other) for other in np.flatnonzero(linked[frontier.pop()])} & unseen
            unseen -= near
            component += near
            frontier += near
        components.append(sorted(component))
    return components
