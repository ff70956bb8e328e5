"""Matching again with another threshold, from kept tokens, without any training.

Who takes part and who delivers does not depend on tau, and a round's matching depends on tokens
alone; so the rounds can be gone through again with any tau, by the same function (``match``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcit_app.identity.matching import match
from fcit_app.identity.tokens import IdentityToken, cosine_matrix

Unit = tuple[int, str]
"""Stage and name of a client's token: what is matched, once."""


@dataclass(frozen=True, eq=False)
class ReplayRound:
    """The participants of a round.

    Parameters
    ----------
    stage : int
        Its number.
    tokens : Mapping[str, IdentityToken]
        Name to token, in the order of clients.
    delivered : frozenset[str]
        Whose replies were merged.
    """

    stage: int
    tokens: Mapping[str, IdentityToken]
    delivered: frozenset[str]


@dataclass(frozen=True, eq=False)
class Replay:
    """What one tau makes of a run.

    Parameters
    ----------
    tokens : dict[int, IdentityToken]
        Identifier of a subspace to its token after the last round.
    home : dict[Unit, int]
        Who delivered, to the identifier of its subspace.
    low : float
        Every threshold above this one, up to the tau replayed, has the same outcome; 0 if all have.
    """

    tokens: dict[int, IdentityToken]
    home: dict[Unit, int]
    low: float

    @property
    def partition(self) -> frozenset[frozenset[Unit]]:
        """The same without identifiers."""
        groups: dict[int, set[Unit]] = {}
        for unit, subspace in self.home.items():
            groups.setdefault(subspace, set()).add(unit)
        return frozenset(map(frozenset, groups.values()))


@dataclass(frozen=True, eq=False)
class Interval:
    """Thresholds that form the same subspaces: above ``low``, up to and with ``high``."""

    low: float
    high: float
    outcome: Replay

    @property
    def width(self) -> float:
        """How far tau may move."""
        return self.high - self.low


def replay(rounds: Sequence[ReplayRound], tau: float, again: bool = False) -> Replay:
    """Match all rounds with a threshold.

    Parameters
    ----------
    rounds : Sequence[ReplayRound]
        In their order.
    tau : float
        In (0, 1].
    again : bool
        Whether a client's samples count in every round (``identity.count = round``).
    """
    bank: dict[int, IdentityToken] = {}
    assigned: dict[str, int] = {}
    counted: set[str] = set()
    home: dict[Unit, int] = {}
    low, stage = 0.0, 0
    for entry in rounds:
        if entry.stage != stage:
            stage, assigned, counted = entry.stage, {}, set()
        assigned = {name: subspace for name, subspace in assigned.items() if subspace in bank}
        names = list(entry.tokens)
        new = {p: entry.tokens[n] for p, n in enumerate(names) if n not in assigned}
        matching = match(list(bank.values()), new, tau)
        known = list(bank)
        assigned |= {names[p]: known[place] for p, place in matching.joined.items()}
        for identifier, group in enumerate(matching.opened, max(known, default=-1) + 1):
            assigned |= {names[p]: identifier for p in group}
        alone = [p for group in matching.opened for p in group]
        compared = [max(cosines) for cosines in matching.similarities.values() if cosines]
        compared += _links([new[p] for p in alone])
        low = max([low, *(cosine for cosine in compared if cosine < tau)])
        members: dict[int, list[str]] = {}
        for name in names:
            if name in entry.delivered:
                members.setdefault(assigned[name], []).append(name)
        for subspace, delivering in sorted(members.items()):
            fresh = [entry.tokens[n] for n in delivering if again or n not in counted]
            former = [bank[subspace]] if subspace in bank else []
            bank[subspace] = IdentityToken.pooled([*former, *fresh])
            counted.update(delivering)
            home |= {(stage, name): subspace for name in delivering}
    return Replay(bank, home, low)


def sweep(rounds: Sequence[ReplayRound], again: bool = False) -> list[Interval]:
    """All intervals of tau in (0, 1] that form the same subspaces, from high to low.

    Exact, without a grid: a replay compares finitely many cosines with tau, so it stays what it is
    down to the largest of them below tau, where the next one begins.
    """
    found: list[Interval] = []
    tau = 1.0
    while tau > 0.0:
        outcome = replay(rounds, tau, again)
        high = tau
        if found and found[-1].outcome.partition == outcome.partition:
            high = found.pop().high
        found.append(Interval(outcome.low, high, outcome))
        tau = outcome.low
    return found


def recommended(intervals: Sequence[Interval]) -> Interval | None:
    """Give the widest interval that says something about the tokens.

    That is the largest gap between cosines that count as alike and those that do not. Left out are
    a single subspace for all, and one for each: their outer ends are those of (0, 1], no gap.
    """
    inner = [
        entry for entry in intervals if 1 < len(entry.outcome.partition) < len(entry.outcome.home)
    ]
    return max(inner, key=lambda entry: entry.width, default=None)


def _links(tokens: Sequence[IdentityToken]) -> list[float]:
    """Cosines at which groups of tokens fall apart: the edges of a maximum spanning tree (Prim).

    ``match`` joins by chains of pairs, so no other pair decides who is with whom.
    """
    if len(tokens) < 2:
        return []
    vectors = np.stack([token.total for token in tokens])
    similarity = cosine_matrix(vectors, vectors)
    nearest: NDArray[np.float64] = similarity[0].copy()
    left = set(range(1, len(tokens)))
    links = []
    while left:
        following = max(left, key=lambda place: float(nearest[place]))
        links.append(float(nearest[following]))
        left.discard(following)
        nearest = np.maximum(nearest, similarity[following])
    return links
