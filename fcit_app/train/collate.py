"""From tokenised samples to padded batches with labels on the answer only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fcit_app.data.sample import Sample
from fcit_app.model.base import BaseModel
from fcit_app.model.prompt import encode_dialogues

IGNORED = -100
"""Label of positions without loss, as everywhere in Hugging Face's libraries."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Right-padded token identifiers and labels, both of shape (batch, length).

    Parameters
    ----------
    input_ids : Tensor
        Prompt, answer, end of sequence, padding.
    labels : Tensor
        Equal to ``input_ids`` at the answer and the end of sequence, ``IGNORED`` elsewhere.
    """

    input_ids: Tensor
    labels: Tensor


class Collator:
    """Tokenises samples once, then cuts any batches from them.

    Parameters
    ----------
    base : BaseModel
        Its tokenizer and chat template are used.
    samples : Sequence[Sample]
        All samples of a client.
    """

    def __init__(self, base: BaseModel, samples: Sequence[Sample]) -> None:
        self._padding = base.tokenizer.pad_token_id
        self._rows = [
            (torch.tensor(identifiers), length)
            for identifiers, length in encode_dialogues(base, samples)
        ]

    def lengths(self, places: Sequence[int]) -> list[int]:
        """Tokens of the samples at these places."""
        return [len(self._rows[place][0]) for place in places]

    def batch(self, places: Sequence[int]) -> Batch:
        """Cut the samples at these places, padded on the right to the longest of them.

        Padding behind the answer needs no attention mask: no answer token looks that far.
        """
        rows = [self._rows[place] for place in places]
        length = max(len(identifiers) for identifiers, _ in rows)
        input_ids = torch.full((len(rows), length), self._padding)
        labels = torch.full((len(rows), length), IGNORED)
        for row, (identifiers, prompt) in enumerate(rows):
            input_ids[row, : len(identifiers)] = identifiers
            labels[row, prompt : len(identifiers)] = identifiers[prompt:]
        return Batch(input_ids, labels)


def shuffled_batches(count: int, size: int, steps: int, seed: int) -> Iterator[list[int]]:
    """Yield ``steps`` batches of places 0 .. count-1, from a fresh shuffle each epoch.

    Batches run over the end of an epoch, so that after any number of steps no sample has been seen
    more than once oftener than another, give or take the epoch that is under way. A shard smaller
    than ``size`` gives batches of the whole shard.
    """
    generator = np.random.default_rng(seed)
    size = min(size, count)
    waiting: list[int] = []
    for _ in range(steps):
        if len(waiting) < size:
            waiting.extend(generator.permutation(count).tolist())
        yield waiting[:size]
        del waiting[:size]
