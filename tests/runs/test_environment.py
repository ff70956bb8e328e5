"""Provenance names versions and the commit, and nothing private."""

from __future__ import annotations

import getpass
import json
import subprocess
from pathlib import Path

import pytest

from fcit_app.runs import describe_environment
from fcit_app.runs.environment import COMMIT_VARIABLE, source_commit


def git(root, *arguments: str) -> str:
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(root), *names, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_versions_and_machine():
    found = describe_environment()
    assert found["packages"]["flwr"].startswith("1.4")
    assert found["packages"]["torch"].startswith("2.13.0")
    assert found["cpu_count"] >= 1
    text = json.dumps(found)
    assert str(Path.home()) not in text or str(Path.home()) == "/"
    assert len(getpass.getuser()) < 4 or f"/{getpass.getuser()}" not in text


def test_a_launcher_may_tell_the_commit(monkeypatch):
    monkeypatch.setenv(COMMIT_VARIABLE, "abc123+changes")
    assert describe_environment()["commit"] == "abc123+changes"


def test_commit_of_a_checkout(tmp_path):
    assert source_commit(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert source_commit(tmp_path) is None
    (tmp_path / "a").write_text("a")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-q", "-m", "a")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert source_commit(tmp_path) == head
    (tmp_path / "a").write_text("b")
    assert source_commit(tmp_path) == head + "+changes"


def test_a_checkout_around_the_installation_is_not_ours(tmp_path):
    git(tmp_path, "init", "-q")
    inside = tmp_path / "venv" / "site-packages"
    inside.mkdir(parents=True)
    assert source_commit(inside) is None


def test_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_commit() is None


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    monkeypatch.delenv(COMMIT_VARIABLE, raising=False)
