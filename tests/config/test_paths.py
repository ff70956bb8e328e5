"""A resolved configuration does not depend on the working directory."""

from __future__ import annotations

import pytest

from fcit_app.config import flatten, parse, relative_paths, resolve_paths


def test_relative_paths_become_absolute(tmp_path):
    (tmp_path / "llava").mkdir()
    (tmp_path / "clip").mkdir()
    given = {"model.name": "llava", "identity.encoder": "clip:clip", "data.root": "d", "out": "r"}
    config = parse(given)
    resolved = resolve_paths(config, tmp_path)
    assert resolved.model.name == str(tmp_path / "llava")
    assert resolved.identity.encoder == f"clip:{tmp_path / 'clip'}"
    assert resolved.out == str(tmp_path / "r")
    assert resolved.data.root == str(tmp_path / "d")
    assert resolve_paths(resolved) == resolved


def test_names_stay_names(tmp_path):
    config = parse({"identity.encoder": "sentence-transformers:all-MiniLM-L6-v2"})
    resolved = resolve_paths(config, tmp_path)
    assert resolved.identity == config.identity
    assert resolved.model.name == "mini"


def test_a_checkpoints_name_stays_unless_it_is_a_folder(tmp_path):
    config = parse({"model.name": "llava-hf/llava-1.5-7b-hf"})
    assert resolve_paths(config, tmp_path).model == config.model
    folder = tmp_path / "llava-hf" / "llava-1.5-7b-hf"
    folder.mkdir(parents=True)
    assert resolve_paths(config, tmp_path).model.name == str(folder)


def test_a_model_that_is_nowhere_gets_an_absolute_path_too(tmp_path):
    resolved = resolve_paths(parse({"model.name": "llava"}), tmp_path)
    assert resolved.model.name == str(tmp_path / "llava")


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ({"model.name": "llava", "identity.encoder": "clip:clip"}, ["model.name", "identity"]),
        ({"model.name": "~/llava"}, ["model.name"]),
        ({"identity.encoder": "sentence-transformers:./elsewhere"}, ["identity.encoder"]),
        ({"identity.encoder": "sentence-transformers:all-MiniLM-L6-v2"}, []),
        ({"out": "r"}, []),
        ({"data.root": "data"}, ["data.root"]),
        ({"model.name": "llava-hf/llava-1.5-7b-hf"}, []),
        ({"model.name": "./llava-hf/llava"}, ["model.name"]),
    ],
)
def test_relative_paths_are_named(tmp_path, monkeypatch, values, keys):
    (tmp_path / "llava").mkdir()
    (tmp_path / "clip").mkdir()
    monkeypatch.chdir(tmp_path)
    problems = list(relative_paths(flatten(parse(values))))
    assert len(problems) == len(keys)
    for problem, key in zip(problems, keys, strict=True):
        assert problem.startswith(key)
        assert "Give an absolute path" in problem
    if "llava" in values.values():
        assert list(relative_paths(flatten(resolve_paths(parse(values))))) == []
