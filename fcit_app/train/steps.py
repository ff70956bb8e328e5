"""What each optimiser step learns from, and how its samples are cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fcit_app.train.collate import IGNORED, Batch, Collator, shuffled_batches


@dataclass(frozen=True, eq=False)
class Part:
    """One batch of a step, with its shares of what the step learns from.

    The shares are exactly 1 for the only batch of a step, where they change no bit.

    Parameters
    ----------
    places : list[int]
        Places of its samples.
    batch : Batch
        The samples as one batch.
    of_tokens, of_samples : float
        Its share of the step's answer tokens and of its samples; each sums to 1 over the step.
        Weighted by the first, the batches' mean losses add up to the step's mean per token.
    """

    places: list[int]
    batch: Batch
    of_tokens: float
    of_samples: float


def plan_steps(count: int, size: int, steps: int, epochs: int, seed: int) -> list[list[int]]:
    """Places of each step's samples, among ``count``.

    Parameters
    ----------
    count : int
        Samples of the client.
    size : int
        Samples a step learns from, at most.
    steps : int
        Steps to take, unless ``epochs`` says otherwise.
    epochs : int
        Passes over the samples; 0 for none.
    seed : int
        Of the shuffles.
    """
    if epochs:
        return list(epoch_batches(count, size, epochs, seed))
    return list(shuffled_batches(count, size, steps, seed))


def parts_of(collator: Collator, places: Sequence[int], size: int, grouped: bool) -> list[Part]:
    """Cut a step's samples into batches of at most ``size``, alike rows together if grouped."""
    pieces = cut(places, size, collator.lengths(places) if grouped else None)
    batches = [collator.batch(piece) for piece in pieces]
    tokens = [int((batch.labels[:, 1:] != IGNORED).sum()) for batch in batches]
    return [
        Part(piece, batch, count / sum(tokens), len(piece) / len(places))
        for piece, batch, count in zip(pieces, batches, tokens, strict=True)
    ]


def epoch_batches(count: int, size: int, epochs: int, seed: int) -> Iterator[list[int]]:
    """Yield each epoch's batches of places 0 .. count-1, from a fresh shuffle each.

    The last batch of an epoch may be smaller than ``size``, as in LLaVA's training.
    """
    generator = np.random.default_rng(seed)
    for _ in range(epochs):
        order = generator.permutation(count).tolist()
        yield from (order[start : start + size] for start in range(0, count, size))


def cut(places: Sequence[int], size: int, lengths: Sequence[int] | None = None) -> list[list[int]]:
    """Cut one step's samples into batches of at most ``size``, for accumulation.

    Parameters
    ----------
    places : Sequence[int]
        The step's samples.
    size : int
        Samples that go through the model together.
    lengths : Sequence[int], optional
        Tokens of each sample: then the longest come first, so that alike rows stand together and
        there is little padding. LLaVA's length grouping does the same within a global batch; which
        samples a step learns from does not change.
    """
    order = list(range(len(places)))
    if lengths is not None:
        order.sort(key=lambda number: -lengths[number])  # stable: equal lengths stay shuffled
    ordered = [places[number] for number in order]
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]
