"""A run folder holds one run, whole or not at all."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fcit_app.config import flatten, parse
from fcit_app.errors import RunFolderError
from fcit_app.runs import (
    RunFolder,
    check_free,
    describe_environment,
    make_result,
    replacing,
    run_folders,
)

CONFIG = flatten(parse({}))
VALUES = arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 4)))


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder.create(tmp_path / "deep" / "run", CONFIG, describe_environment())


def files(path) -> dict[str, bytes]:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_create_writes_what_is_known(folder):
    assert set(files(folder.path)) == {"config.json", "environment.json"}
    assert folder.read_config() == CONFIG
    assert parse(folder.read_config()) == parse({})
    assert RunFolder(folder.path).path == folder.path


def test_a_folder_holds_one_run(folder):
    before = files(folder.path)
    with pytest.raises(RunFolderError, match=r"another run \(method disco, preset mini, unfin"):
        RunFolder.create(folder.path, CONFIG, {})
    assert files(folder.path) == before


def test_other_peoples_folders_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match=r"not empty and holds no run \(thesis.tex\)"):
        RunFolder.create(tmp_path, CONFIG, {})
    with pytest.raises(RunFolderError, match="is a file"):
        check_free(tmp_path / "thesis.tex")
    with pytest.raises(RunFolderError, match="is not a run folder"):
        RunFolder(tmp_path)


def test_what_cannot_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match=r"cannot be written: .* Choose another --out"):
        RunFolder.create(tmp_path / "file" / "run", CONFIG, {})


def test_the_log_of_a_failed_start_is_no_obstacle(tmp_path):
    (tmp_path / "flower.log").write_text("it did not start")
    assert RunFolder.create(tmp_path, CONFIG, {}).read_config() == CONFIG


def test_a_new_run_replaces_the_old_one(folder):
    folder.save_state({"a": np.zeros(2, np.float32)}, {})
    (folder.path / "flower.log").touch()
    with replacing(folder.path):
        assert not folder.path.exists()
        RunFolder.create(folder.path, CONFIG | {"seed": 7}, {})
    assert RunFolder(folder.path).read_config()["seed"] == 7
    assert set(files(folder.path.parent)) == {"run/config.json", "run/environment.json"}


@pytest.mark.parametrize("left", [(), ("flower.log",), ("flower.log", "environment.json")])
def test_the_old_run_comes_back_if_no_new_one_begins(folder, left):
    folder.save_state({"a": np.zeros(2, np.float32)}, {})
    before = files(folder.path)
    with pytest.raises(KeyboardInterrupt), replacing(folder.path):
        for name in left:
            folder.path.mkdir(exist_ok=True)
            (folder.path / name).write_text("no base model")
        raise KeyboardInterrupt
    log = {"flower.log": b"no base model"} if left else {}
    assert files(folder.path) == before | log
    assert [entry.name for entry in folder.path.parent.iterdir()] == ["run"]


def test_a_run_put_aside_by_a_killed_process_comes_back(folder):
    folder.write_result(make_result(parse({}), tasks=["dvqa"], last=50.0))
    before = files(folder.path)
    aside = folder.path.with_name(".run.replaced")
    folder.path.rename(aside)
    with pytest.raises(RunFolderError, match="holds no run"):
        run_folders([folder.path.parent])
    with replacing(folder.path):
        pass
    assert files(folder.path) == before
    assert not aside.exists()


def test_nothing_to_replace(tmp_path):
    with replacing(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()
    with replacing(tmp_path):
        assert tmp_path.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["thesis.tex", ".git", "data"])
def test_foreign_files_are_never_replaced(folder, name):
    (folder.path / name).mkdir()
    before = files(folder.path)
    with pytest.raises(RunFolderError, match="not a run's"), replacing(folder.path):
        pass
    assert files(folder.path) == before


def test_what_only_looks_like_a_run_is_never_replaced(tmp_path):
    def refuses(path, words):
        with pytest.raises(RunFolderError, match=words), replacing(path):
            pass

    (tmp_path / "state").mkdir()
    refuses(tmp_path, "does not hold a run's configuration")
    (tmp_path / "config.json").write_text('{"name": "something else"}')
    refuses(tmp_path, "does not hold a run's configuration")
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    refuses(link, "is not a folder")
    assert (tmp_path / "state").exists()


@given(st.dictionaries(st.text(min_size=1, max_size=8), VALUES, max_size=4))
def test_state_survives_to_the_bit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("run") / "r"
    folder = RunFolder.create(path, CONFIG, {})
    folder.save_state(values, {"stage": 2, "text": "é"})
    loaded, meta = folder.load_state()
    assert meta == {"stage": 2, "text": "é"}
    assert loaded.keys() == values.keys()
    for name, value in values.items():
        assert loaded[name].dtype == value.dtype
        assert loaded[name].tobytes() == value.tobytes()


def test_state_keeps_views_counts_and_scalars(folder):
    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    given_arrays = {"t": table.T, "count": np.array(7, np.int64), "step": table[::2]}
    folder.save_state(given_arrays, {})
    loaded, _ = folder.load_state()
    for name, value in given_arrays.items():
        assert loaded[name].dtype == value.dtype
        np.testing.assert_array_equal(loaded[name], value)


def test_arrays_and_meta_are_of_one_round_whenever_writing_stops(folder, monkeypatch):
    """Stop the second save at each of its renamings: the state is the old or the new one."""
    from fcit_app.runs import atomic

    replace = atomic.Path.replace
    for allowed in range(4):
        folder.save_state({"a": np.full(3, 1, np.float32)}, {"round": 1})
        done = 0

        def stopping(self, target, allowed=allowed):
            nonlocal done
            if done == allowed:
                raise KeyboardInterrupt
            done += 1
            return replace(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(atomic.Path, "replace", stopping)
            try:
                folder.save_state({"a": np.full(3, 2, np.float32)}, {"round": 2})
            except KeyboardInterrupt:
                assert allowed < 3
        loaded, meta = folder.load_state()
        assert (loaded["a"] == meta["round"]).all()


def test_damaged_or_missing_state_is_named(folder):
    with pytest.raises(RunFolderError, match="no saved state"):
        folder.load_state()
    folder.save_state({"a": np.zeros(4, np.float32)}, {})
    assert not (folder.path / "state" / "previous.safetensors").exists()
    path = folder.path / "state" / "round.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RunFolderError, match=r"round.safetensors is damaged"):
        folder.load_state()


def test_results_are_checked_on_the_way_in_and_out(folder):
    result = make_result(parse({}), tasks=["dvqa"], accuracy=[[50.0]], last=50.0)
    folder.write_result(result)
    assert folder.read_result().model_dump() == result
    with pytest.raises(RunFolderError, match="last"):
        folder.write_result({key: value for key, value in result.items() if key != "last"})
    assert folder.read_result().model_dump() == result
    (folder.path / "result.json").write_text(json.dumps(result | {"best": 1}))
    with pytest.raises(RunFolderError, match=r"result.json does not fit the schema: best"):
        folder.read_result()
