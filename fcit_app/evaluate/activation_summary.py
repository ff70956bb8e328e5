"""Which subspaces a task's questions activate, and whether they are the ones trained on it.

The weights are known before anything is answered, so this picture of an evaluation costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import Tensor

_ROUNDING = 1e-4
_DIGITS = 200

UNIT = 2**_DIGITS
"""What 1 is in the sums of an ``ActivationTally``."""


@dataclass(frozen=True)
class ActivationSummary:
    """The activation weights of one task's questions, over N subspaces.

    Parameters
    ----------
    weights : tuple[float, ...]
        Mean weight of each subspace, in the bank's order.
    strongest : tuple[float, ...] or None
        Share of the questions, 0 to 1, of which this subspace is the strongest (the first one on a
        tie); sums to 1, without the questions that wake none (``identity.open-world``). None where
        all of several subspaces weigh the same for every question (``concat``): then nothing is
        routed.
    entropy : float or None
        Mean entropy of a question's weights in nats, 0 to ln N (0 where none is woken); None where
        weights are no distribution (``cosine``, ``concat``).
    """

    weights: tuple[float, ...]
    strongest: tuple[float, ...] | None
    entropy: float | None


@dataclass(frozen=True)
class ActivationTally:
    """Sums over some questions of a task; those of several shards add up to the task's.

    The sums are exact, so the summary is the same to the last bit however the questions were
    divided: whole multiples of ``2 ** -200``, of which every float32 weight is one.

    Parameters
    ----------
    questions : int
        How many, at least 1.
    weights : tuple[int, ...]
        Sum of each subspace's weights.
    strongest : tuple[int, ...]
        Questions of which this subspace is the strongest (the first one on a tie).
    routed : bool
        Whether there is one subspace only, or two weigh differently for some question.
    entropy : int or None
        Sum of the questions' entropies in nats; None if some question's weights are no
        distribution.
    """

    questions: int
    weights: tuple[int, ...]
    strongest: tuple[int, ...]
    routed: bool
    entropy: int | None

    def __add__(self, other: ActivationTally) -> ActivationTally:
        """Add both parts, of as many subspaces."""
        known = self.entropy is not None and other.entropy is not None
        return ActivationTally(
            self.questions + other.questions,
            tuple(a + b for a, b in zip(self.weights, other.weights, strict=True)),
            tuple(a + b for a, b in zip(self.strongest, other.strongest, strict=True)),
            self.routed or other.routed,
            (self.entropy or 0) + (other.entropy or 0) if known else None,
        )

    def summary(self) -> ActivationSummary:
        """Means over the questions, correctly rounded."""
        whole = self.questions * UNIT
        return ActivationSummary(
            tuple(total / whole for total in self.weights),
            tuple(count / self.questions for count in self.strongest) if self.routed else None,
            None if self.entropy is None else max(0.0, self.entropy / whole),
        )


def tally_weights(weights: Tensor) -> ActivationTally:
    """Add up activation weights of shape (questions, subspaces), at least one of each."""
    rows: list[list[float]] = weights.double().tolist()
    count = weights.shape[1]
    strongest = [0] * count
    for row in rows:
        if any(row):
            strongest[row.index(max(row))] += 1
    entropies = [_entropy(row) for row in rows]
    return ActivationTally(
        len(rows),
        tuple(sum(map(_exact, column)) for column in zip(*rows, strict=True)),
        tuple(strongest),
        count == 1 or any(weight != row[0] for row in rows for weight in row),
        None if None in entropies else sum(_exact(value) for value in entropies if value),
    )


def summarise_weights(weights: Tensor) -> ActivationSummary:
    """Summarise activation weights of shape (questions, subspaces), at least one of each."""
    return tally_weights(weights).summary()


def _exact(value: float) -> int:
    """Give a number in multiples of ``1 / UNIT``."""
    return int(math.ldexp(value, _DIGITS))


def _entropy(row: Sequence[float]) -> float | None:
    """Entropy of one question's weights in nats; None if they are no distribution.

    To wake none is certain: 0.
    """
    if not any(row):
        return 0.0
    if min(row) < 0 or abs(math.fsum(row) - 1) > _ROUNDING:
        return None
    # Number by number: a vectorised logarithm's last bit depends on a number's place.
    return math.fsum(-weight * math.log(weight) for weight in row if weight)


def normalised_entropy(entropy: float | None, subspaces: int) -> float | None:
    """Entropy over its largest value ln N, 0 to 1; None for less than two subspaces."""
    if entropy is None or subspaces < 2:
        return None
    return min(1.0, entropy / math.log(subspaces))


def routing_accuracy(strongest: Sequence[float] | None, trained: Collection[int]) -> float | None:
    """Percentage of a task's questions whose strongest subspace was trained on the task.

    A subspace that was trained on several tasks (a capability stage's) is right for each of them.

    Parameters
    ----------
    strongest : Sequence[float] or None
        See ``ActivationSummary``.
    trained : Collection[int]
        Positions of the subspaces that were trained on samples of the task.

    Returns
    -------
    float or None
        None if nothing is routed, or if there is no such subspace: then no choice is right.
    """
    if strongest is None or not trained:
        return None
    return min(100.0, 100.0 * sum(strongest[position] for position in sorted(set(trained))))
