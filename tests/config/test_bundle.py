"""What `flwr run` bundles: all of our source, none of what is not ours to ship."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk

ROOT = Path(__file__).parents[2]
PACKAGES = ("client_app", "fcit_app", "server_app", "strategies")


@pytest.fixture(scope="module")
def bundled(tmp_path_factory) -> set[str]:
    # A copy without .venv, through whose files Flower would walk for seconds.
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", ".gitignore", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, copy)
    for package in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / package, copy / package)
    with zipfile.ZipFile(io.BytesIO(build_fab_from_disk(copy))) as bundle:
        return set(bundle.namelist())


def test_every_module_is_in_the_bundle(bundled):
    modules = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    # A pattern of .gitignore that also fits one of our folders would drop it silently.
    assert modules - bundled == set()


def test_nothing_else_is_in_the_bundle(bundled):
    extra = {name for name in bundled if name.split("/")[0] not in PACKAGES}
    assert extra <= {"pyproject.toml", "LICENSE", ".info/CONTENT"}
