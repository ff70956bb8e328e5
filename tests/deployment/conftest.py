"""Certificates made by the script that the documentation names."""

from __future__ import annotations

from pathlib import Path

import pytest
from certificate_script import make_certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Path:
    """A federation's certificates, with keys of three SuperNodes. Do not write to it."""
    folder = tmp_path_factory.mktemp("federation") / "certificates"
    done = make_certificates(folder, "3")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def strange_certificates(tmp_path_factory) -> Path:
    """Another federation's. Do not write to it."""
    folder = tmp_path_factory.mktemp("strangers") / "certificates"
    assert make_certificates(folder, "1").returncode == 0
    return folder
