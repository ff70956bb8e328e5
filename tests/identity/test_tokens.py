import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fcit_app.errors import DataError
from fcit_app.identity.tokens import IdentityToken, cosine, cosine_matrix

features = arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.just(5)),
    elements=st.floats(-100, 100, width=32),
)


@settings(max_examples=60, deadline=None)
@given(features, st.data())
def test_merging_over_any_split_is_the_pooled_token(matrix, data):
    owner = data.draw(st.lists(st.integers(0, 3), min_size=len(matrix), max_size=len(matrix)))
    parts = [
        IdentityToken.of(matrix[np.asarray(owner) == k])
        for k in data.draw(st.permutations(sorted(set(owner))))
    ]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    pooled = IdentityToken.of(matrix)
    assert merged.count == pooled.count == IdentityToken.pooled(parts).count
    np.testing.assert_allclose(merged.total, pooled.total, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(merged.mean, matrix.mean(axis=0, dtype=np.float64), atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(features, features)
def test_merging_commutes_to_the_bit(a, b):
    one, other = IdentityToken.of(a), IdentityToken.of(b)
    assert one.merge(other).total.tobytes() == other.merge(one).total.tobytes()


@settings(max_examples=60, deadline=None)
@given(features, features, st.data())
def test_cosines_are_symmetric_bounded_and_independent_of_their_neighbours(a, b, data):
    matrix = cosine_matrix(a, b)
    assert matrix.dtype == np.float64
    assert (np.abs(matrix) <= 1).all()
    assert (matrix == cosine_matrix(b, a).T).all()
    rows, columns = (data.draw(st.permutations(range(len(x)))) for x in (a, b))
    assert (cosine_matrix(a[rows], b[columns]) == matrix[rows][:, columns]).all()
    assert matrix[-1, -1] == cosine(a[-1], b[-1])


def test_a_vector_is_exactly_its_own_direction_and_the_zero_vector_none():
    vector = np.random.default_rng(0).normal(size=768).astype(np.float32)
    assert cosine(vector, vector) == 1.0
    assert cosine(vector, -vector) == -1.0
    assert cosine(vector, np.zeros(768)) == 0.0
    assert cosine(vector, 1000 * vector) == pytest.approx(1.0, abs=1e-7)


def test_a_token_owns_its_numbers():
    total = np.ones(3, dtype=np.float32)
    token = IdentityToken(total, 2)
    total[0] = 9
    assert token.total.tolist() == [1, 1, 1]
    assert token.mean.tolist() == [0.5, 0.5, 0.5]
    assert token.total.dtype == token.mean.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        token.total[0] = 9


@pytest.mark.parametrize(
    ("total", "count", "named"),
    [
        (np.ones(4), 0, "count"),
        (np.ones(4), -3, "count"),
        (np.ones(4), 2**60, "count"),
        (np.ones(4), True, "count"),
        (np.ones((2, 2)), 1, "shape"),
        (np.ones(0), 1, "shape"),
        (np.array([1, np.nan, 0, 0]), 1, "finite"),
        (np.array([1, 1e300, 0, 0]), 1, "finite"),
        (np.ones(3), 1, "3 features where the others have 4"),
    ],
)
def test_a_malformed_token_is_named(total, count, named):
    with pytest.raises(DataError, match=named):
        IdentityToken(total, count).validate(4)


def test_tokens_need_samples_and_one_width():
    with pytest.raises(DataError, match="at least one sample"):
        IdentityToken.of(np.zeros((0, 4)))
    with pytest.raises(DataError, match="one width"):
        IdentityToken(np.ones(3), 1).merge(IdentityToken(np.ones(4), 1))
    with pytest.raises(DataError, match="cannot be compared"):
        cosine(np.ones(3), np.ones(4))
