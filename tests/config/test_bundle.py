"""What `flwr run` bundles: all of our source, none of what is not ours to ship."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk

from fcit_app.model.weights import ENVIRONMENT_VARIABLE, WEIGHTS_FILE, mini_path

ROOT = Path(__file__).parents[2]
PACKAGES = ("client_app", "fcit_app", "server_app", "strategies")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    """What Flower makes of the checkout, where it would lie when the app runs."""
    # A copy without .venv, through whose files Flower would walk for seconds.
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", ".gitignore", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, copy)
    for package in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / package, copy / package)
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(io.BytesIO(build_fab_from_disk(copy))) as bundle:
        bundle.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def bundled(unpacked) -> set[str]:
    return {p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file()}


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


def test_the_bundle_finds_the_installed_weights(unpacked, bundled, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    assert not [name for name in bundled if name.endswith(".safetensors")]
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
        "import fcit_app; from fcit_app.model.weights import mini_path\n"
        "print(fcit_app.__file__); print(mini_path())"
    )
    # -I: nothing of this working directory or PYTHONPATH, only what is installed.
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    package, weights = map(Path, done.stdout.splitlines())
    assert package.is_relative_to(unpacked)
    assert not weights.is_relative_to(unpacked)
    assert weights == mini_path()
    assert (weights / WEIGHTS_FILE).is_file()
