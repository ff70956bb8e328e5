"""Codecs: bounds on what a round trip changes, whatever the shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import array_shapes, arrays

from fcit_app.codec import SCALES, decode, encode

VALUES = some.floats(-(2.0**99), 2.0**99, width=32)
SHAPES = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7)
ARRAYS = SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=VALUES))


@settings(deadline=None, max_examples=80)
@given(ARRAYS)
def test_bf16_keeps_eight_leading_bits(array):
    coded = encode({"a": array}, "bf16")
    assert (coded["a"].dtype, coded["a"].shape) == (np.uint16, array.shape)
    found = decode(coded, "bf16")["a"]
    assert (found.dtype, found.shape) == (np.float32, array.shape)
    # Numbers below the smallest normal one lose all but their size.
    assert (np.abs(found - array) <= np.abs(array) * 2**-8 + 1e-38).all()
    # What is written already is read to the bit.
    again = decode(encode({"a": found}, "bf16"), "bf16")["a"]
    assert again.tobytes() == found.tobytes()


@settings(deadline=None, max_examples=80)
@given(ARRAYS)
def test_int8_errs_by_half_a_step_of_its_row(array):
    coded = encode({"a": array}, "int8")
    assert set(coded) == {"a", SCALES + "a"}
    assert (coded["a"].dtype, coded["a"].shape) == (np.int8, array.shape)
    found = decode(coded, "int8")["a"]
    assert (found.dtype, found.shape) == (np.float32, array.shape)
    matrix, read = array, found
    if array.ndim > 1 and array.size:
        matrix, read = array.reshape(len(array), -1), found.reshape(len(array), -1)
        if matrix.shape[0] > matrix.shape[1]:
            matrix, read = matrix.T, read.T
    else:
        matrix, read = array.reshape(1, -1), found.reshape(1, -1)
    scales = coded[SCALES + "a"]
    assert scales.shape == (len(matrix),)
    largest = np.abs(matrix.astype(np.float64)).max(axis=1, initial=0)
    np.testing.assert_allclose(scales, largest / 127, rtol=1e-6, atol=1e-44)
    bound = (largest / 127 / 2 * 1.0001 + 1e-37)[:, None]
    assert (np.abs(read.astype(np.float64) - matrix) <= bound).all()


def test_a_rank_vector_has_one_scale_in_both_matrices_of_an_adapter():
    down, up = np.ones((8, 64), np.float32), np.ones((64, 8), np.float32)
    coded = encode({"down": down, "up": up}, "int8")
    assert coded["scales/down"].shape == coded["scales/up"].shape == (8,)
    up[:, 3] *= 1e-6
    # One vector's size does not cost another one its digits.
    assert np.allclose(decode(encode({"up": up}, "int8"), "int8")["up"], up, rtol=1e-6)


@pytest.mark.parametrize("codec", ["bf16", "int8"])
def test_zeros_stay_zeros(codec):
    start = {"a": np.zeros((3, 4), np.float32)}
    assert not decode(encode(start, codec), codec)["a"].any()


def test_what_is_not_finite_does_not_become_finite():
    odd = np.array([np.nan, np.inf, -np.inf], np.float32)
    assert not np.isfinite(decode(encode({"a": odd}, "bf16"), "bf16")["a"]).any()
