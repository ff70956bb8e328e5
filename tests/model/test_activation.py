"""What the activation weights must satisfy, whatever features and tokens are."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fcit_app.errors import ModelError
from fcit_app.model.activation import Activation, activation_weights

MODES = get_args(Activation)


def drawn(seed: int, rows: int, width: int = 8) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, width)))


seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 6)


@pytest.mark.parametrize("mode", MODES)
@given(seed=seeds, batch=sizes, count=sizes)
@settings(max_examples=25, deadline=None)
def test_shape_scale_and_order(mode: Activation, seed: int, batch: int, count: int) -> None:
    features, tokens = drawn(seed, batch), drawn(seed + 1, count)
    weights = activation_weights(features, tokens, mode)
    assert weights.shape == (batch, count) and weights.dtype == torch.float32
    torch.testing.assert_close(activation_weights(7 * features, 0.3 * tokens, mode), weights)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed % 1000))
    torch.testing.assert_close(activation_weights(features, tokens[order], mode), weights[:, order])
    if mode in ("softmax", "argmax"):
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(batch))


@given(seed=seeds, count=sizes)
@settings(max_examples=25, deadline=None)
def test_softmax_lies_between_argmax_and_the_mean(seed: int, count: int) -> None:
    features, tokens = drawn(seed, 4), drawn(seed + 1, count)
    cold = activation_weights(features, tokens, "softmax", temperature=1e-7)
    torch.testing.assert_close(cold, activation_weights(features, tokens, "argmax"))
    hot = activation_weights(features, tokens, "softmax", temperature=1e7)
    torch.testing.assert_close(hot, torch.full_like(hot, 1 / count))


def test_softmax_is_the_papers_formula() -> None:
    features = torch.tensor([[2.0, 0.0]])
    tokens = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    terms = np.exp(np.array([1.0, 0.6, 0.0]) / 0.05)
    expected = torch.tensor(terms / terms.sum(), dtype=torch.float32)
    torch.testing.assert_close(activation_weights(features, tokens)[0], expected)


def test_a_tie_goes_to_the_first() -> None:
    weights = activation_weights(torch.ones(1, 2), torch.ones(3, 2), "argmax")
    assert weights.tolist() == [[1, 0, 0]]


def test_cosine_and_concatenation() -> None:
    features, tokens = torch.tensor([[1.0, 0.0]]), torch.tensor([[-2.0, 0.0], [0.0, 1.0]])
    assert activation_weights(features, tokens, "cosine").tolist() == [[-1, 0]]
    assert activation_weights(features, tokens, "concat").tolist() == [[1, 1]]


def test_mistakes_are_told() -> None:
    with pytest.raises(ModelError, match="'mean'; allowed are softmax"):
        activation_weights(torch.ones(1, 2), torch.ones(1, 2), "mean")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"2 numbers.*3"):
        activation_weights(torch.ones(1, 2), torch.ones(1, 3))
