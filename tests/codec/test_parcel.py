"""Parcels: what comes out is what went in, and bad bytes are told from good ones."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import array_shapes, arrays

from fcit_app.errors import ModelError
from fcit_app.parcel import checksum, pack, unpack

DTYPES = some.sampled_from(["f4", "f8", "f2", "i8", "i4", "i1", "u2", "u1", "?"])
SHAPES = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
ARRAYS = DTYPES.flatmap(lambda dtype: arrays(np.dtype(dtype), SHAPES))
RECORDS = some.dictionaries(some.text(min_size=1, max_size=9), ARRAYS, max_size=5)


@settings(deadline=None, max_examples=120)
@given(RECORDS)
def test_a_parcel_is_unpacked_to_the_bit(record):
    parcel = pack(record)
    assert (parcel.dtype, parcel.ndim) == (np.uint8, 1)
    found = unpack(parcel)
    assert list(found) == sorted(record)
    for name, array in record.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_order_and_layout_of_the_arrays_do_not_show():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    turned = np.asfortranarray(values)
    one = pack({"a": values, "b": values[:, ::2]})
    other = pack({"b": values[:, ::2].copy(), "a": turned})
    assert one.tobytes() == other.tobytes()


def test_a_parcel_of_an_adapter_is_hardly_larger_than_its_values():
    adapter = {f"layers.{n}.feed_forward.lora_A.weight": np.zeros((8, 64), "f4") for n in range(50)}
    assert len(pack(adapter)) < sum(a.nbytes for a in adapter.values()) + 50 * 120


def _damaged():
    good = pack({"a": np.arange(6, dtype=np.float32), "b": np.ones((2, 3), np.int64)}).tobytes()
    torn = io.BytesIO()
    np.save(torn, np.ones(3))
    yield "empty", b""
    yield "torn", good[:-1]
    yield "longer", good + b"x"
    yield "another format", torn.getvalue()
    yield "a header longer than all", (2**40).to_bytes(8, "little") + good[8:]
    yield "a dtype of its own", good.replace(b"F32", b"Q32")
    yield "a dtype that NumPy lacks", good.replace(b"F32", b"U32").replace(b"I64", b"E64")
    yield "a shape of its own", good.replace(b"[6]", b"[7]")
    yield "overlapping", good.replace(b"[0,48]", b"[0,24]")


@pytest.mark.parametrize(("name", "content"), _damaged())
def test_what_is_no_parcel_is_said_to_be_none(name, content):
    with pytest.raises(ModelError, match="cannot be read"):
        unpack(np.frombuffer(content, np.uint8))


@settings(deadline=None, max_examples=150)
@given(some.integers(0, 300), some.integers(0, 255))
def test_any_byte_may_be_wrong(place, value):
    parcel = pack({"a": np.arange(8, dtype=np.float32), "bb": np.ones((2, 2), np.int8)}).copy()
    parcel[place % len(parcel)] = value
    try:
        found = unpack(parcel)
    except ModelError:
        return
    assert sum(array.nbytes for array in found.values()) <= len(parcel)


def test_a_checksum_goes_by_names_and_bytes_and_not_by_order():
    pieces = [("a", b"12"), ("b", b"34")]
    assert checksum(pieces) == checksum(reversed(pieces))
    others = ([("a", b"12")], [("a", b"34"), ("b", b"12")], [("a", b"13"), ("b", b"34")])
    assert checksum(pieces) not in {checksum(other) for other in others}
