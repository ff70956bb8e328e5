"""The mini base is found in a checkout, in each kind of install, and from Flower's bundle."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fcit_app
from fcit_app.errors import ModelError
from fcit_app.model.weights import DISTRIBUTION, ENVIRONMENT_VARIABLE, WEIGHTS_FILE, mini_path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Flower ships of the app: its text files."""
    source = Path(fcit_app.__file__).parent
    target = tmp_path_factory.mktemp("bundle")
    for file in source.rglob("*"):
        if file.suffix in {".py", ".json", ".toml", ".md"}:
            copy = target / "fcit_app" / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    return target


def put_mini(root: Path) -> Path:
    folder = root / "fcit_app" / "model" / "mini"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_FILE).write_bytes(b"weights")
    return folder


def put_distribution(site: Path, origin: str | None = None) -> None:
    info = site / f"{DISTRIBUTION.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: 0.1.0\n")
    if origin is not None:
        content = {"url": origin, "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(content))


def ask(path: list[Path], isolated: bool = True) -> str:
    """Answer of ``mini_path`` in a new Python with these places first on its search path."""
    code = (
        f"import sys; sys.path[:0] = {[str(place) for place in path]!r}\n"
        "from fcit_app.errors import ModelError\n"
        "from fcit_app.model.weights import mini_path\n"
        "try: print(mini_path())\n"
        "except ModelError as error: print('ModelError', error)"
    )
    flags = ["-I", "-S"] if isolated else ["-I"]  # -S: without what is really installed
    command = [sys.executable, *flags, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_bundle_finds_the_weights_of_a_regular_install(bundle: Path, tmp_path: Path) -> None:
    put_distribution(tmp_path)
    expected = put_mini(tmp_path)
    assert ask([bundle, tmp_path]) == str(expected)


def test_a_bundle_finds_the_weights_of_an_editable_install(bundle: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "a check out"
    put_distribution(tmp_path / "site", checkout.as_uri())
    expected = put_mini(checkout)
    assert ask([bundle, tmp_path / "site"]) == str(expected)


def test_a_bundle_finds_the_weights_that_are_really_installed(bundle: Path) -> None:
    assert ask([bundle], isolated=False) == str(mini_path())


@pytest.mark.parametrize("origin", [None, "https://example.org/fcit.git", "file:///nowhere"])
def test_nothing_found_says_what_to_install(
    bundle: Path, tmp_path: Path, origin: str | None
) -> None:
    put_distribution(tmp_path, origin)
    said = ask([bundle, tmp_path])
    assert said.startswith("ModelError") and f"pip install {DISTRIBUTION}" in said
    assert ENVIRONMENT_VARIABLE in said and str(tmp_path) in said


def test_without_any_distribution_the_error_is_the_same(bundle: Path) -> None:
    assert f"pip install {DISTRIBUTION}" in ask([bundle])


def test_the_environment_variable_goes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = put_mini(tmp_path)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(folder))
    assert mini_path() == folder


def test_a_wrong_environment_variable_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path))
    with pytest.raises(ModelError, match=ENVIRONMENT_VARIABLE):
        mini_path()
