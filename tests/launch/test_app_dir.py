"""The app is found beside the package, or the user is told what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from fcit_app.errors import RunError
from fcit_app.launch import find_app_dir


def test_a_source_checkout_is_found():
    assert find_app_dir() == Path(__file__).parents[2]


def test_an_installed_wheel_is_explained(tmp_path):
    with pytest.raises(RunError, match="source checkout"):
        find_app_dir(str(tmp_path / "fcit_app" / "__init__.py"))
