"""The diffs of docs/write-your-own.md apply to the project as it is, and what they add works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "write-your-own.md"
TREES = ("fcit_app", "server_app", "client_app", "strategies")
FILES = ("pyproject.toml",)

METHOD = """
from pathlib import Path
from app_runs import run_config, serve
from tiny_llava import save_tiny_llava

model = save_tiny_llava(Path("model").resolve())
changes = {"method": "anchor", "rounds": 2}
folder = serve(run_config(model, Path("run").resolve(), **changes))
print(folder.read_result().method, folder.read_result().bytes.down > folder.read_result().bytes.up)
"""

DATA = """
from pathlib import Path
from app_runs import run_config, serve
from tiny_llava import save_tiny_llava
from toy_folder import make_root
from fcit_app.data.stages import tasks_of

root = make_root(Path("data"), ("figureqa", "chartqa"))
model = save_tiny_llava(Path("model").resolve())
where = {"data__root": str(root.resolve()), "tasks": "figureqa,chartqa"}
folder = serve(run_config(model, Path("run").resolve(), **where))
print(",".join(folder.read_result().tasks), "chartqa" in tasks_of("chart"))
"""


@pytest.fixture
def copy(tmp_path) -> Path:
    """The project's code, to be changed."""
    for tree in TREES:
        unused = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / tree, tmp_path / tree, ignore=unused)
    for file in FILES:
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def diffs() -> list[str]:
    return re.findall(r"^```diff\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def patched(copy: Path, number: int) -> None:
    done = subprocess.run(
        ["git", "apply", "--verbose", "-"],
        input=diffs()[number],
        cwd=copy,
        capture_output=True,
        text=True,
        env={**os.environ, "GIT_DIR": str(copy / "no-repository")},
    )
    assert done.returncode == 0, done.stderr


def run(copy: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(copy), str(ROOT / "tests")])},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.splitlines()[-1]


def test_a_method(copy):
    patched(copy, 0)
    assert run(copy, METHOD) == "anchor True"


def test_a_data_set(copy):
    patched(copy, 1)
    assert run(copy, DATA) == "figureqa,chartqa True"
    doctor = [sys.executable, "-m", "fcit_app.cli", "doctor", "data", "--json"]
    done = subprocess.run(
        doctor,
        cwd=copy,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(copy)},
    )
    assert "chartqa" in json.dumps(json.loads(done.stdout))


def test_every_diff_is_tried():
    assert len(diffs()) == 2
