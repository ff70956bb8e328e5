"""Several independent questions about one picture in one sequence.

A question sees the picture and itself only, and its positions start right after the picture, so
each is trained exactly as if it stood alone in a single-turn prompt, at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from fcit_app.data.mini.vocabulary import PATCHES

IGNORED = -100
"""Label of positions that bear no loss."""


@dataclass(frozen=True)
class PackedBatch:
    """A batch of packed dialogues.

    Parameters
    ----------
    input_ids : Tensor
        Shape (pictures, length), int64.
    labels : Tensor
        Shape (pictures, length), int64; ``IGNORED`` outside answers.
    mask : Tensor
        Shape (pictures, 1, length, length), float32: 0 where attention is allowed.
    positions : Tensor
        Shape (pictures, length), int64.
    answers : list[list[slice]]
        For every picture and question, where its answer stands in ``labels``.
    """

    input_ids: Tensor
    labels: Tensor
    mask: Tensor
    positions: Tensor
    answers: list[list[slice]]


def pack(
    tokenizer: PreTrainedTokenizerFast,
    dialogues: Sequence[Sequence[tuple[str, str]]],
    multiple: int = 16,
) -> PackedBatch:
    """Pack the (question, answer) pairs of every picture into one row.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
        The mini base's tokenizer.
    dialogues : Sequence[Sequence[tuple[str, str]]]
        Questions and answers of each picture.
    multiple : int
        Rows are padded to a multiple of this length.
    """
    head = tokenizer.convert_tokens_to_ids(["<s>", "USER:", *["<image>"] * PATCHES])
    assert isinstance(head, list)
    end = tokenizer.eos_token_id
    texts = [
        text for turns in dialogues for q, a in turns for text in (f"\n{q} ASSISTANT:", f" {a}")
    ]
    encoded = iter(tokenizer(texts, add_special_tokens=False).input_ids)
    rows = [_Row(head) for _ in dialogues]
    for row, turns in zip(rows, dialogues, strict=True):
        for _ in turns:
            row.add(next(encoded), [*next(encoded), end])
    longest = max(len(row.ids) for row in rows)
    length = -(-longest // multiple) * multiple

    def padded(lists: list[list[int]], value: int) -> Tensor:
        return torch.tensor([values + [value] * (length - len(values)) for values in lists])

    group = padded([row.groups for row in rows], -1)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    visible = causal & ((group[:, None, :] == 0) | (group[:, None, :] == group[:, :, None]))
    return PackedBatch(
        input_ids=padded([row.ids for row in rows], tokenizer.pad_token_id),
        labels=padded([row.labels for row in rows], IGNORED),
        mask=torch.zeros(visible.shape).masked_fill(~visible, -1e4)[:, None],
        positions=padded([row.positions for row in rows], 0),
        answers=[row.answers for row in rows],
    )


class _Row:
    """One packed sequence while it grows."""

    def __init__(self, head: list[int]) -> None:
        self.ids = list(head)
        self.labels = [IGNORED] * len(head)
        self.groups = [0] * len(head)  # 0 is the picture, 1 and up are the questions
        self.positions = list(range(len(head)))
        self.answers: list[slice] = []
        self._start = len(head)

    def add(self, prompt: list[int], answer: list[int]) -> None:
        begin = len(self.ids) + len(prompt)
        self.answers.append(slice(begin, begin + len(answer)))
        count = len(prompt) + len(answer)
        self.ids += prompt + answer
        self.labels += [IGNORED] * len(prompt) + answer
        self.groups += [len(self.answers)] * count
        self.positions += range(self._start, self._start + count)
