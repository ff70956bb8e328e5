"""Which subspaces a task's questions activate, and whether they are the ones trained on it.

The weights are known before anything is answered, so this picture of an evaluation costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_ROUNDING = 1e-4


@dataclass(frozen=True)
class ActivationSummary:
    """The activation weights of one task's questions, over N subspaces.

    Parameters
    ----------
    weights : tuple[float, ...]
        Mean weight of each subspace, in the bank's order.
    strongest : tuple[float, ...] or None
        Share of the questions, 0 to 1, of which this subspace is the strongest (the first one on a
        tie); sums to 1. None where all of several subspaces weigh the same for every question
        (``concat``): then nothing is routed.
    entropy : float or None
        Mean entropy of a question's weights in nats, 0 to ln N; None where weights are no
        distribution (``cosine``, ``concat``).
    """

    weights: tuple[float, ...]
    strongest: tuple[float, ...] | None
    entropy: float | None


def summarise_weights(weights: Tensor) -> ActivationSummary:
    """Summarise activation weights of shape (questions, subspaces), at least one of each."""
    count = weights.shape[1]
    strongest = torch.bincount(weights.argmax(dim=1), minlength=count).double() / len(weights)
    routed = count == 1 or bool((weights != weights[:, :1]).any())
    return ActivationSummary(
        tuple(weights.double().mean(dim=0).tolist()),
        tuple(strongest.tolist()) if routed else None,
        _mean_entropy(weights.double()),
    )


def _mean_entropy(weights: Tensor) -> float | None:
    sums = weights.sum(dim=1)
    if bool((weights < 0).any()) or bool(((sums - 1).abs() > _ROUNDING).any()):
        return None
    return max(0.0, float(torch.special.entr(weights).sum(dim=1).mean()))


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
