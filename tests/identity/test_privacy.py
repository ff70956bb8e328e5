"""Floor, bound and noise of identity tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fcit_app.errors import DataError
from fcit_app.identity.privacy import check_enough, clipped, deviation, noised
from fcit_app.identity.prototypes import with_prototypes
from fcit_app.identity.tokens import IdentityToken

FEATURES = arrays(np.float64, (5, 4), elements=st.floats(-100, 100, width=32))
CLIPS = st.floats(0.01, 50)


@given(FEATURES, CLIPS)
def test_no_feature_is_longer_than_the_bound_and_short_ones_stay(features, clip):
    lengths = np.linalg.norm(features, axis=1)
    found = clipped(features, clip)
    assert (np.linalg.norm(found, axis=1) <= clip * (1 + 1e-12)).all()
    short = lengths <= clip
    assert (found[short] == features[short]).all()
    # The direction is kept.
    assert np.allclose(found * lengths[:, None], features * np.minimum(lengths, clip)[:, None])


def test_no_bound_leaves_the_bits():
    features = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    plain, same = IdentityToken.of(features), with_prototypes(clipped(features, 0.0), 0)
    assert plain.total.tobytes() == same.total.tobytes()
    assert plain.count == same.count


@given(FEATURES, arrays(np.float64, 4, elements=st.floats(-1e6, 1e6)), CLIPS)
def test_one_replaced_sample_moves_the_sum_by_at_most_what_the_noise_is_for(features, other, clip):
    replaced = features.copy()
    replaced[2] = other
    moved = clipped(features, clip).sum(axis=0) - clipped(replaced, clip).sum(axis=0)
    assert np.linalg.norm(moved) <= deviation(clip, 1.0) * (1 + 1e-9)


def test_noise_has_the_standard_deviation_it_is_said_to_have():
    token = IdentityToken(np.full(40_000, 7.0), 3)
    found = noised(token, deviation(0.5, 1.2), np.random.default_rng(5))
    drawn = found.total.astype(np.float64) - 7.0
    assert found.count == 3
    assert drawn.std() == pytest.approx(1.2, rel=0.02)
    assert abs(drawn.mean()) < 0.03


def test_noise_is_never_the_same_twice():
    token = IdentityToken(np.zeros(8), 3)
    np.random.seed(0)
    first = noised(token, 1.0)
    np.random.seed(0)
    assert (first.total != noised(token, 1.0).total).all()


def test_prototypes_are_not_noised():
    token = with_prototypes(np.eye(4)[[0] * 10 + [1] * 10], 2)
    assert len(token.prototypes) == 2
    with pytest.raises(DataError, match=r"identity\.prototypes = 0"):
        noised(token, 1.0)


@pytest.mark.parametrize(("least", "number"), [(1, 3), (8, 3), (9, 2), (11, 1)])
def test_no_prototype_has_fewer_samples_than_a_token_may_have(least, number):
    features = np.eye(4)[[0] * 10 + [1] * 9 + [2] * 8]
    token = with_prototypes(features, 4, least)
    assert len(token.prototypes) == number
    assert all(part.count >= least for part in token.prototypes)
    assert sum(part.count for part in token.prototypes) == token.count


def test_too_few_samples_give_no_token_and_keep_their_number():
    check_enough(20, 20, "client 3")
    with pytest.raises(DataError, match=r"client 3 .*identity\.min-samples = 20") as caught:
        check_enough(17, 20, "client 3")
    assert "17" not in str(caught.value)
