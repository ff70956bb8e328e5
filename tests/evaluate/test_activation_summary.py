"""Routing accuracy and entropy of activation weights."""

from __future__ import annotations

import functools
import math
import operator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fcit_app.evaluate.activation_summary import (
    normalised_entropy,
    routing_accuracy,
    summarise_weights,
    tally_weights,
)
from fcit_app.model.activation import Activation, activation_weights

SCORES = st.integers(1, 6).flatmap(
    lambda width: st.lists(
        st.lists(st.floats(-30, 30), min_size=width, max_size=width), min_size=1, max_size=8
    )
)


@given(SCORES)
def test_entropy_is_bounded_and_shares_sum_to_one(scores: list[list[float]]) -> None:
    weights = torch.tensor(scores).softmax(dim=1)
    found = summarise_weights(weights)
    count = weights.shape[1]
    assert found.entropy is not None
    assert 0 <= found.entropy <= math.log(count) + 1e-6
    assert sum(found.weights) == pytest.approx(1, abs=1e-5)
    relative = normalised_entropy(found.entropy, count)
    assert relative is None if count == 1 else 0 <= relative <= 1
    if found.strongest is not None:  # a draw of equal scores routes nothing
        assert sum(found.strongest) == pytest.approx(1, abs=1e-5)
        assert routing_accuracy(found.strongest, range(count)) == pytest.approx(100)


@pytest.mark.parametrize("count", [2, 5])
def test_entropy_at_its_ends(count: int) -> None:
    even = summarise_weights(torch.full((3, count), 1 / count))
    assert even.entropy == pytest.approx(math.log(count))
    assert normalised_entropy(even.entropy, count) == pytest.approx(1)
    sure = summarise_weights(torch.eye(count))
    assert sure.entropy == 0 == normalised_entropy(sure.entropy, count)


def test_one_hot_weights_are_right_where_the_subspace_was_trained_on_the_task() -> None:
    """Three of four questions at subspace 2, one at subspace 0."""
    found = summarise_weights(torch.eye(3)[[2, 2, 0, 2]])
    assert found.strongest == (0.25, 0.0, 0.75) == found.weights
    assert routing_accuracy(found.strongest, {2}) == 75
    assert routing_accuracy(found.strongest, {1}) == 0
    assert routing_accuracy(found.strongest, {0, 2}) == 100, "a task may have several subspaces"
    assert routing_accuracy(found.strongest, ()) is None


def test_weights_that_are_no_distribution_have_no_entropy() -> None:
    concat = summarise_weights(torch.ones(2, 3))
    assert concat.entropy is concat.strongest is None
    assert routing_accuracy(concat.strongest, {0}) is None
    assert summarise_weights(torch.ones(2, 1)).strongest == (1,)
    assert summarise_weights(torch.tensor([[1.5, -0.5]])).entropy is None
    assert summarise_weights(torch.ones(2, 1)).entropy == 0
    assert normalised_entropy(None, 3) is None


@pytest.mark.parametrize("mode", ["softmax", "argmax", "cosine", "concat"])
def test_parts_add_up_to_the_whole_to_the_bit(mode: Activation) -> None:
    generator = torch.Generator().manual_seed(0)
    features, tokens = (torch.randn(n, 12, generator=generator) for n in (97, 5))
    weights = activation_weights(features, tokens, mode)
    order = torch.randperm(97, generator=generator)
    parts = [tally_weights(weights[part]) for part in order.split([1, 40, 7, 49])]
    whole = functools.reduce(operator.add, parts)
    assert whole == tally_weights(weights)
    assert whole.summary() == summarise_weights(weights)
    means = [math.fsum(column) / 97 for column in weights.double().T.tolist()]
    assert summarise_weights(weights).weights == pytest.approx(means, rel=1e-15)
