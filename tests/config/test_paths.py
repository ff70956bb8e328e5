"""A resolved configuration does not depend on the working directory."""

from __future__ import annotations

import pytest

from fcit_app.config import parse, resolve_paths
from fcit_app.errors import ConfigError


def test_relative_paths_become_absolute(tmp_path):
    (tmp_path / "llava").mkdir()
    (tmp_path / "clip").mkdir()
    config = parse({"model.name": "llava", "identity.encoder": "clip:clip", "out": "r"})
    resolved = resolve_paths(config, tmp_path)
    assert resolved.model.name == str(tmp_path / "llava")
    assert resolved.identity.encoder == f"clip:{tmp_path / 'clip'}"
    assert resolved.out == str(tmp_path / "r")
    assert resolve_paths(resolved) == resolved


def test_names_stay_names(tmp_path):
    config = parse({"identity.encoder": "sentence-transformers:all-MiniLM-L6-v2"})
    resolved = resolve_paths(config, tmp_path)
    assert resolved.identity == config.identity
    assert resolved.model.name == "mini"


def test_a_model_that_is_nowhere(tmp_path):
    with pytest.raises(ConfigError, match=r"model\.name: 'llava' is not allowed; allowed: mini"):
        resolve_paths(parse({"model.name": "llava"}), tmp_path)
