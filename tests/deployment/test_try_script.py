"""The script that tries the containers, as far as it can be tried without an engine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from deployed import ROOT

SCRIPT = ROOT / "docker" / "try.sh"
TOOLS = (
    *("cat", "chmod", "chown", "cp", "date", "dirname", "grep", "id", "mkdir", "mktemp", "mv"),
    *("openssl", "rm", "sleep", "ssh-keygen", "tail", "timeout"),
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH without any engine, and a folder for temporary files."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "tmp").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (programs / tool).symlink_to(found)
    (programs / "sh").symlink_to("/bin/sh")
    return tmp_path


def engine(machine: Path, fails: str) -> Path:
    """A `docker` that notes what it is asked and refuses one thing; the notes."""
    calls = machine / "calls"
    program = machine / "bin" / "docker"
    program.write_text(
        f'#!/bin/sh\necho "$FCIT_UID:$FCIT_GID $*" >>{calls}\n'
        f'case "$*" in *"{fails}"*) echo it broke >&2; exit 3 ;; esac\n'
        "echo SuperNode ID: 1\n"
    )
    program.chmod(0o755)
    return calls


def tried(machine: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["/bin/sh", SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": f"{machine}/bin", "TMPDIR": f"{machine}/tmp", **environment},
    )


def test_no_engine_is_said_and_nothing_is_left(machine):
    done = tried(machine)
    assert done.returncode == 2 and "COMPOSE='podman compose'" in done.stderr
    assert os.listdir(machine / "tmp") == []


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        ("build superlink", "try: no image"),
        ("up --detach", "try: no federation"),
        ("logs supernode-1", "did not come up within 1 s"),
        ("flwr run", "try: no result"),  # the engine is content, but no run folder is there
    ],
)
def test_whatever_fails_all_is_taken_down(machine, fails, words):
    calls = engine(machine, fails)
    done = tried(machine, FCIT_TRY_SECONDS="1")
    assert done.returncode == 1 and words in done.stderr
    asked = calls.read_text().splitlines()
    assert asked[-2].endswith("/docker/compose.yaml down --volumes")
    assert asked[-1].endswith("network rm fcit-try_default")
    assert os.listdir(machine / "tmp") == []
    # Never as root, and in a project of its own beside a federation that is in use.
    steps = [line for line in asked if "compose.yaml" in line]
    assert steps and all(" compose -p fcit-try -f " in line for line in steps)
    assert not any(line.startswith("0:") for line in steps)
