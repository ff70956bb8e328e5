"""A JSON array is read item by item: the same values, at any chunk size, in flat memory."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fcit_app.data.folder.json_stream import read_array
from fcit_app.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    values=st.lists(VALUES, max_size=5),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    mark=st.booleans(),
)
def test_it_gives_what_json_gives(tmp_path, values, chunk, indent, ascii_only, mark):
    file = tmp_path / "array.json"
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    file.write_bytes((b"\xef\xbb\xbf" if mark else b"") + text.encode("utf-8", "surrogatepass"))
    try:
        file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:  # half of a surrogate pair is no UTF-8
        with pytest.raises(DataError, match="UTF-8"):
            list(read_array(file, chunk_bytes=chunk))
        return
    read = []
    assert list(read_array(file, read.append, chunk)) == list(enumerate(values))
    assert sum(read) == file.stat().st_size


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds nothing"),
        ('{"a": []}', "holds an object"),
        ("image,question\n", "begins with 'i'"),
        ("[1, 2", "must follow record 1, not the end of the file"),
        ('[{"a": 1}, {"b": ', "record 1 is no JSON"),
        ("[1, ", "the file ends where record 1 should be"),
        ("[", "the file ends where record 0 should be"),
        ("[1 2]", "must follow record 0, not '2'"),
        ("[1, 2,]", "a comma behind the last record, 1"),
        ("[1] [2]", "more text behind"),
        ('["\xff"]', "not UTF-8"),
        ("[" + "1" * 10_000 + "]", "record 0 cannot be read"),
        ("[" + "[" * 100_000, "nested too deeply"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 2**20])
def test_a_broken_file_is_named_with_the_place(tmp_path, text, says, chunk):
    if chunk == 1 and len(text) > 1000:
        chunk = 1000
    file = tmp_path / "broken.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        list(read_array(file, chunk_bytes=chunk))
    assert str(caught.value).startswith(f"{file}: ")
    assert says in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        list(read_array(tmp_path / "none.json"))


def test_what_comes_before_a_defect_is_given(tmp_path):
    file = tmp_path / "broken.json"
    file.write_text('[1, {"a": 2}, oops]')
    items = read_array(file)
    assert [next(items), next(items)] == [(0, 1), (1, {"a": 2})]
    with pytest.raises(DataError, match="record 2"):
        next(items)


def test_memory_does_not_grow_with_the_file(tmp_path):
    def peak(records: int) -> int:
        file = tmp_path / f"{records}.json"
        with file.open("w") as stream:
            stream.write("[" + ",".join(['{"image": "' + "x" * 1000 + '"}'] * records) + "]")
        tracemalloc.start()
        count = sum(1 for _ in read_array(file, chunk_bytes=2**16))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == records
        return most

    peak(10)  # what is allocated once
    small, large = peak(500), peak(5000)
    assert large < small + 2**17
