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

TRIAL = """
import json
from pathlib import Path
from app_runs import run_config, serve
from tiny_llava import save_tiny_llava
from toy_folder import make_root
from fcit_app.data.stages import tasks_of
from fcit_app.doctor.examine import examine

here = Path().resolve()
model = save_tiny_llava(here / "model")
anchored = serve(run_config(model, here / "anchored", method="anchor")).read_result()
root = make_root(here / "data", ("figureqa", "chartqa"))
where = {"data__root": str(root), "tasks": "figureqa,chartqa"}
charts = serve(run_config(model, here / "charts", **where)).read_result()
found = {
    "method": anchored.method,
    "remembers": anchored.bytes.down > anchored.bytes.up,
    "tasks": charts.tasks,
    "capability": "chartqa" in tasks_of("chart"),
    "examined": [entry.name for entry in examine(root, ["chartqa"]).datasets],
}
print(json.dumps(found))
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


def patch(copy: Path, diff: str) -> None:
    done = subprocess.run(
        ["git", "apply", "--verbose", "-"],
        input=diff,
        cwd=copy,
        capture_output=True,
        text=True,
        env={**os.environ, "GIT_DIR": str(copy / "no-repository")},
    )
    assert done.returncode == 0, done.stderr


def test_a_method_and_a_data_set(copy):
    assert len(diffs()) == 2
    for diff in diffs():
        patch(copy, diff)
    done = subprocess.run(
        [sys.executable, "-c", TRIAL],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(copy), str(ROOT / "tests")])},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "method": "anchor",
        "remembers": True,
        "tasks": ["figureqa", "chartqa"],
        "capability": True,
        "examined": ["chartqa"],
    }
