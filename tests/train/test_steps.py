"""However a step's samples are cut, checkpointed or ordered, the step is the same."""

from __future__ import annotations

import dataclasses
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_llava import toy_samples
from toy_banks import RANK, SCALING, fingerprint, same_bits

from fcit_app.arrays import Arrays
from fcit_app.config import parse
from fcit_app.model.adapters import initial_adapter, parameter_handles, read_parameters, wrap
from fcit_app.model.base import BaseModel
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.collate import Collator
from fcit_app.train.loop import FitResult, TrainConfig, fit
from fcit_app.train.settings import local_training
from fcit_app.train.steps import cut, epoch_batches, parts_of, plan_steps

CONFIG = TrainConfig(steps=3, batch_size=8, learning_rate=1e-2, projector_learning_rate=1e-3)
SAMPLES = toy_samples(13)


@pytest.fixture
def run(tiny_base: BaseModel, tiny_vision: VisionFeatures) -> Any:
    def run(dropout: float = 0.0, **changes: Any) -> FitResult:
        model = wrap(tiny_base, RANK, SCALING, dropout)
        try:
            handles = parameter_handles(model, projector=True)
            start = read_parameters(handles) | initial_adapter(handles, seed=0)
            config = dataclasses.replace(CONFIG, **changes)
            return fit(tiny_base, handles, start, SAMPLES, tiny_vision, 1, config)
        finally:
            wrap(tiny_base, RANK, SCALING)

    return run


def close(first: Arrays, second: Arrays) -> None:
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("mu", [0.0, 2.0])
def test_accumulation_equals_a_larger_batch(run: Any, size: int, mu: float) -> None:
    whole = run(proximal_mu=mu)
    parts = run(proximal_mu=mu, batch_size=size, accumulation=8 // size)
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-4)
    close(parts.arrays, whole.arrays)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_checkpointing_changes_nothing_and_is_switched_off_again(
    tiny_base: BaseModel, run: Any, dropout: float
) -> None:
    plain = run(dropout)
    before = fingerprint(tiny_base.model)
    again = run(dropout, gradient_checkpointing=True)
    np.testing.assert_allclose(again.losses, plain.losses, rtol=1e-5)
    close(again.arrays, plain.arrays)
    assert fingerprint(tiny_base.model) == before
    assert not any(getattr(m, "gradient_checkpointing", False) for m in tiny_base.model.modules())


def test_checkpointing_computes_layers_twice(
    tiny_base: BaseModel, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    attention = tiny_base.model.model.language_model.layers[0].self_attn
    hook = attention.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        run(steps=1)
        plain = len(calls)
        run(steps=1, gradient_checkpointing=True)
    finally:
        hook.remove()
    assert (plain, len(calls) - plain) == (1, 2)


def test_grouping_by_length_is_the_same_step_with_less_padding(
    tiny_base: BaseModel, run: Any
) -> None:
    small = {"batch_size": 2, "accumulation": 4}
    close(run(**small, group_by_length=True).arrays, run(**small).arrays)
    collator = Collator(tiny_base, SAMPLES)
    places = list(range(8))

    def padded(grouped: bool) -> int:
        return sum(part.batch.input_ids.numel() for part in parts_of(collator, places, 2, grouped))

    assert padded(True) < padded(False)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 9))
def test_cutting_is_a_permutation(lengths: list[int], size: int) -> None:
    places = [100 + number for number in range(len(lengths))]
    grouped = cut(places, size, lengths)
    assert sorted(chain(*grouped)) == places
    assert [*chain(*cut(places, size))] == places
    assert all(len(part) == size for part in grouped[:-1])
    ordered = [lengths[place - 100] for place in chain(*grouped)]
    assert ordered == sorted(lengths, reverse=True)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 3))
def test_an_epoch_sees_each_sample_once(count: int, size: int, epochs: int) -> None:
    plan = list(epoch_batches(count, size, epochs, seed=3))
    each = -(-count // size)
    assert len(plan) == epochs * each
    for epoch in range(epochs):
        batches = plan[epoch * each : (epoch + 1) * each]
        assert sorted(chain(*batches)) == list(range(count))
    assert plan == plan_steps(count, size, 99, epochs, 3)
    assert len(plan_steps(count, size, 7, 0, 3)) == 7


def test_no_clipping_by_configuration() -> None:
    assert local_training(parse({})).max_gradient_norm == 1.0
    assert local_training(parse({"preset": "paper-task-hom"})).max_gradient_norm is None


def test_epochs_replace_steps(run: Any) -> None:
    once = run(epochs=1, steps=50)
    assert once.steps == 2  # 13 samples in batches of 8
    assert same_bits(once.arrays, run(epochs=1, steps=1).arrays)
