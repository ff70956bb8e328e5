"""Prototypes divide a client's samples, and merging them loses none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcit_app.errors import DataError
from fcit_app.identity.prototypes import SMALLEST_CLUSTER, pooled, with_prototypes
from fcit_app.identity.tokens import IdentityToken, cosine

seeds = st.integers(0, 2**32 - 1)


def cluster(direction: int, count: int, seed: int = 0, width: int = 6) -> np.ndarray:
    """Features around one axis."""
    features = 0.05 * np.random.default_rng([seed, direction]).random((count, width))
    features[:, direction] += 1.0
    return features


def divides(token: IdentityToken) -> None:
    """Counts and totals of the prototypes add up to the token's; all of it is well formed."""
    token.validate()
    assert sum(part.count for part in token.prototypes) == token.count


def seen(token: IdentityToken) -> list[tuple[int, int]]:
    """Axis and count of each prototype, in order of the axes."""
    return sorted((int(np.abs(part.total).argmax()), part.count) for part in token.prototypes)


@given(seed=seeds, count=st.integers(1, 60), most=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_the_clusters_divide_the_samples(seed: int, count: int, most: int) -> None:
    features = np.random.default_rng(seed).standard_normal((count, 3))
    token = with_prototypes(features, most)
    divides(token)
    assert 1 <= len(token.prototypes) <= most
    assert all(part.count >= min(SMALLEST_CLUSTER, count) for part in token.prototypes)
    plain = IdentityToken.of(features)
    assert token.total.tobytes() == plain.total.tobytes()
    assert token.count == plain.count


def test_without_prototypes_it_is_the_papers_token() -> None:
    features = cluster(0, 20)
    assert with_prototypes(features, 0).prototypes == ()
    assert with_prototypes(features, 0).routes[0].total.tobytes() == (
        IdentityToken.of(features).total.tobytes()
    )
    (only,) = with_prototypes(features, 1).prototypes
    assert only.total.tobytes() == IdentityToken.of(features).total.tobytes()


def test_clusters_are_found_whatever_the_order_of_the_samples() -> None:
    features = np.concatenate([cluster(0, 30), cluster(1, 12), cluster(2, 9), cluster(3, 3)])
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(features))
        token = with_prototypes(features[order], 8)
        divides(token)
        # One axis may be two clusters: they are alike, and one to the server. The three samples are
        # too few for a mean of their own and are with one of the others.
        found = seen(pooled(None, [token], 0.9, 8))
        assert [axis for axis, _ in found] == [0, 1, 2]
        assert all(more in (0, 3) for more in np.subtract([n for _, n in found], [30, 12, 9]))


def test_alike_features_and_zeros_are_one_cluster() -> None:
    assert len(with_prototypes(np.ones((50, 4)), 5).prototypes) == 1
    divides(with_prototypes(np.zeros((50, 4)), 5))


def test_pooling_merges_what_is_alike_and_keeps_what_is_not() -> None:
    client = with_prototypes(np.concatenate([cluster(0, 10), cluster(1, 20)]), 4)
    first = pooled(None, [client], 0.9, 8)
    second = with_prototypes(np.concatenate([cluster(1, 30, 1), cluster(2, 40, 1)]), 4)
    both = pooled(first, [second], 0.9, 8)
    divides(both)
    assert seen(both) == [(0, 10), (1, 50), (2, 40)]
    assert both.total.tobytes() == IdentityToken.pooled([first, second]).total.tobytes()


def test_the_order_of_clients_plays_no_part() -> None:
    clients = [
        with_prototypes(np.concatenate([cluster(i, 10 + i, i), cluster(i + 1, 20, i)]), 4)
        for i in range(3)
    ]
    known = pooled(None, [with_prototypes(cluster(1, 15, 9), 4)], 0.9, 8)
    for start in (None, known):
        outcomes = [pooled(start, order, 0.9, 8) for order in itertools.permutations(clients)]
        for outcome in outcomes:
            divides(outcome)
            assert seen(outcome) == seen(outcomes[0])
            for one in outcome.prototypes:
                assert max(cosine(one.total, p.total) for p in outcomes[0].prototypes) > 1 - 1e-6


@given(seed=seeds, most=st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_the_number_is_bounded_and_no_sample_is_lost(seed: int, most: int) -> None:
    generator = np.random.default_rng(seed)
    clients = [with_prototypes(generator.standard_normal((40, 4)), 4) for _ in range(4)]
    token = pooled(None, clients, 0.95, most)
    divides(token)
    assert len(token.prototypes) <= most


def test_pooling_without_prototypes_is_the_papers() -> None:
    tokens = [with_prototypes(cluster(i, 10), 2) for i in range(3)]
    outcome = pooled(tokens[0], tokens[1:], 0.9, 0)
    assert outcome.prototypes == ()
    assert outcome.total.tobytes() == IdentityToken.pooled(tokens).total.tobytes()


def test_a_token_without_prototypes_counts_as_its_own() -> None:
    plain = IdentityToken.of(cluster(2, 5))
    outcome = pooled(IdentityToken.of(cluster(0, 7)), [plain], 0.9, 4)
    assert seen(outcome) == [(0, 7), (2, 5)]


def test_prototypes_of_other_samples_are_refused() -> None:
    good = with_prototypes(np.concatenate([cluster(0, 10), cluster(1, 20)]), 2)
    one, other = good.prototypes
    for parts, words in (
        ((one,), "add up to"),
        ((other, IdentityToken(other.total, one.count)), "miss the token's"),
        ((one, IdentityToken(other.total[:3], other.count)), "3 features"),
    ):
        with pytest.raises(DataError, match=words):
            IdentityToken(good.total, good.count, parts).validate()
