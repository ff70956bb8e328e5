"""Batches carry a loss on answer and end of sequence only; the sample order is fair and seeded."""

from __future__ import annotations

from collections import Counter

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_llava import toy_samples

from fcit_app.model.base import BaseModel
from fcit_app.train.collate import IGNORED, Collator, shuffled_batches


def test_loss_is_on_answer_and_end_of_sequence_only(tiny_base: BaseModel) -> None:
    samples = toy_samples(6)
    batch = Collator(tiny_base, samples).batch(range(6))
    for sample, labels in zip(samples, batch.labels, strict=True):
        assert tiny_base.tokenizer.decode(labels[labels != IGNORED]) == f" {sample.answer}</s>"
    wanted = batch.labels != IGNORED
    assert torch.equal(batch.labels[wanted], batch.input_ids[wanted])


def test_rows_are_padded_on_the_right_to_the_longest(tiny_base: BaseModel) -> None:
    collator = Collator(tiny_base, toy_samples(4))
    alone = [collator.batch([place]).input_ids[0] for place in range(4)]
    together = collator.batch([3, 0, 2]).input_ids
    assert together.shape[1] == max(len(alone[place]) for place in (3, 0, 2))
    for row, place in zip(together, (3, 0, 2), strict=True):
        assert torch.equal(row[: len(alone[place])], alone[place])
        assert (row[len(alone[place]) :] == tiny_base.tokenizer.pad_token_id).all()


@given(
    count=st.integers(1, 40),
    size=st.integers(1, 20),
    steps=st.integers(0, 30),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_samples_take_turns(count: int, size: int, steps: int, seed: int) -> None:
    batches = list(shuffled_batches(count, size, steps, seed))
    assert batches == list(shuffled_batches(count, size, steps, seed))
    assert [len(batch) for batch in batches] == [min(size, count)] * steps
    stream = [place for batch in batches for place in batch]
    for start in range(0, len(stream) - count + 1, count):
        assert sorted(stream[start : start + count]) == list(range(count))
    seen = Counter(stream)
    assert max(seen.values(), default=0) - min(seen[place] for place in range(count)) <= 1


def test_another_seed_gives_another_order() -> None:
    assert list(shuffled_batches(30, 5, 6, 0)) != list(shuffled_batches(30, 5, 6, 1))
