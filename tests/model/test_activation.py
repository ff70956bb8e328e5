"""What the activation weights must satisfy, whatever features and tokens are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fcit_app.errors import ModelError
from fcit_app.identity.encoders import HashedNgramEncoder
from fcit_app.identity.prototypes import with_prototypes
from fcit_app.identity.tokens import IdentityToken
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


@pytest.mark.parametrize("mode", MODES)
@given(seed=seeds, batch=sizes, count=sizes)
@settings(max_examples=10, deadline=None)
def test_one_token_a_subspace_is_the_papers_routing(
    mode: Activation, seed: int, batch: int, count: int
) -> None:
    features, tokens = drawn(seed, batch), drawn(seed + 1, count)
    expected = activation_weights(features, tokens, mode)
    assert torch.equal(
        activation_weights(features, tokens, mode, owners=torch.arange(count)), expected
    )
    # a subspace's tokens may come in any order, and more than once
    order, owners = [*range(count)][::-1] * 2, torch.tensor([*range(count)][::-1] * 2)
    twice = activation_weights(features, tokens[order], mode, owners=owners)
    torch.testing.assert_close(twice, expected)


def test_prototypes_route_what_the_mean_misroutes() -> None:
    """Counting questions of a subspace with unlike tasks, beside a subspace that only counts."""
    encoder = HashedNgramEncoder()
    naming = [f"Name the {thing} that this picture shows" for thing in "abcdefghijkl"]
    icons = [f"How many {thing} are shown?" for thing in ("stars", "hearts", "moons")] * 4
    maths = [f"Subtract all {thing}. How many are left?" for thing in ("cubes", "balls")] * 6
    general = with_prototypes(encoder.encode([*naming, *naming, *naming, *icons]), 4)
    math = with_prototypes(encoder.encode(maths), 4)
    asked = torch.from_numpy(encoder.encode(icons))

    def own_weight(first: Sequence[IdentityToken], second: Sequence[IdentityToken]) -> float:
        rows = torch.from_numpy(np.stack([token.mean for token in (*first, *second)]))
        owners = torch.tensor([0] * len(first) + [1] * len(second))
        return float(activation_weights(asked, rows, owners=owners)[:, 0].max())

    assert own_weight([general], [math]) < 0.5
    assert own_weight(general.routes, math.routes) > 0.9


def test_of_several_tokens_the_nearest_counts() -> None:
    tokens = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 1.0]])
    weights = activation_weights(torch.eye(3), tokens, "cosine", owners=torch.tensor([0, 0, 1]))
    torch.testing.assert_close(weights, torch.tensor([[1, 0], [1, 0.5**0.5], [0, 0.5**0.5]]))


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
