"""What `flwr run` bundles: all of our source, none of what is not ours to ship."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk

ROOT = Path(__file__).parents[2]
PACKAGES = ("client_app", "fcit_app", "server_app", "strategies")


@pytest.fixture(scope="module")
def bundled() -> set[str]:
    with zipfile.ZipFile(io.BytesIO(build_fab_from_disk(ROOT))) as bundle:
        return set(bundle.namelist())


def test_every_module_is_in_the_bundle(bundled):
    modules = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert modules <= bundled


def test_nothing_else_is_in_the_bundle(bundled):
    extra = {name for name in bundled if name.split("/")[0] not in PACKAGES}
    assert extra <= {"pyproject.toml", "LICENSE", ".info/CONTENT"}
