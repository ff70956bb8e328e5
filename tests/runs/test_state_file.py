"""One whole state can be read whenever writing the next one stops, and whatever becomes of it."""

from __future__ import annotations

import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from fcit_app.errors import RunFolderError
from fcit_app.runs import atomic
from fcit_app.runs.state_file import (
    FORMAT,
    NEWEST,
    PREVIOUS,
    put_right,
    read_part,
    read_state,
    write_state,
)


class PowerCut(BaseException):
    """Nothing catches it."""


def state(number):
    return {"a": np.full(5, number, np.float32), "b": np.arange(3)}, {"round": number}


def number_in(folder):
    found = read_state(folder)
    assert found.arrays.keys() == {"a", "b"}
    assert (found.arrays["a"] == found.meta["round"]).all()
    return found.meta["round"]


@pytest.fixture
def folder(tmp_path):
    """A folder with states 1 and 2."""
    for number in (1, 2):
        write_state(tmp_path, *state(number))
    return tmp_path


@pytest.mark.parametrize("call", range(6))
def test_power_is_cut_at_each_call_to_the_system(folder, monkeypatch, call):
    """Open, sync, move the newest away, move the new one there, sync the folder, close it."""
    done = 0

    def counted(function):
        def inner(*arguments, **named):
            nonlocal done
            if done == call:
                raise PowerCut
            done += 1
            return function(*arguments, **named)

        return inner

    with monkeypatch.context() as patch:
        for owner, name in (
            (atomic.Path, "open"),
            (atomic.Path, "replace"),
            (os, "fsync"),
            (os, "close"),
        ):
            patch.setattr(owner, name, counted(getattr(owner, name)))
        with pytest.raises(PowerCut):
            write_state(folder, *state(3))
    found = number_in(folder)
    assert found == (2 if call < 4 else 3)
    put_right(folder)
    write_state(folder, *state(4))
    assert number_in(folder) == 4
    (folder / NEWEST).unlink()
    assert number_in(folder) == found


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_state_gives_way_to_the_one_before(folder, part):
    content = (folder / NEWEST).read_bytes()
    (folder / NEWEST).write_bytes(content[: int(part * len(content))])
    found = read_state(folder)
    assert found.meta == {"round": 1}
    assert "damaged" in found.note
    put_right(folder)
    assert read_state(folder).note == ""
    assert not (folder / PREVIOUS).exists()


def test_every_flipped_byte_is_noticed(folder):
    """But for padding, that is; none gives other content."""
    content = (folder / NEWEST).read_bytes()
    for place in range(0, len(content), 7):
        flipped = bytes([content[place] ^ 1])
        (folder / NEWEST).write_bytes(content[:place] + flipped + content[place + 1 :])
        try:
            assert number_in(folder) in (1, 2), place
        except RunFolderError as error:
            assert "has format" in str(error), place  # the version itself was flipped


def test_two_damaged_states_are_too_many(folder):
    for name in (NEWEST, PREVIOUS):
        (folder / name).write_bytes(b"")
    with pytest.raises(RunFolderError, match=r"round\.saf.*previous\.saf.*No whole state is left"):
        read_state(folder)


def test_a_later_format_is_refused_and_not_passed_over(folder):
    arrays, _ = state(3)
    facts = {"format": str(FORMAT + 1), "meta": '{"round": 3}'}
    save_file(arrays, folder / NEWEST, metadata=facts)
    with pytest.raises(RunFolderError, match=rf"format {FORMAT + 1}; .*knows formats up to"):
        read_state(folder)


def test_states_from_before_there_were_formats_are_read(folder):
    save_file(state(7)[0], folder / NEWEST, metadata={"meta": '{"round": 7}'})
    assert number_in(folder) == 7


def test_equal_arrays_take_up_space_once(tmp_path):
    array = np.random.default_rng(0).normal(size=10_000)
    write_state(tmp_path, {"one": array, "two": array.copy(), "other": array + 1}, {})
    assert (tmp_path / NEWEST).stat().st_size < 2.1 * array.nbytes
    found = read_state(tmp_path).arrays
    assert all((found[name] == array).all() for name in ("one", "two"))
    assert (found["other"] == array + 1).all()


def test_a_part_of_a_state_is_read_without_the_rest(tmp_path):
    token = np.arange(3, dtype=np.float32)
    arrays = {"a/token": token, "b/token": token, "large": np.zeros(9, np.float32)}
    write_state(tmp_path, arrays, {"stage": 1})
    write_state(tmp_path, arrays, {"stage": 2})
    part = read_part(tmp_path, lambda name: name.endswith("/token"))
    assert part.meta == {"stage": 2}
    assert {name: array.tolist() for name, array in part.arrays.items()} == {
        "a/token": [0, 1, 2],
        "b/token": [0, 1, 2],  # kept once in the file
    }
    (tmp_path / NEWEST).write_bytes(b"torn")
    assert read_part(tmp_path, lambda name: False).meta == {"stage": 1}
    (tmp_path / PREVIOUS).unlink()
    with pytest.raises(RunFolderError, match="no state that can be read"):
        read_part(tmp_path, lambda name: True)
