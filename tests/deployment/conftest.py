"""Certificates from the script that the documentation names, and federations that end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificate_script import make_certificates
from deployed import Federation


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


@pytest.fixture(scope="module")
def federation(tmp_path_factory) -> Iterator[Callable[..., Federation]]:
    """Makes federations; whatever a failing test leaves running is ended."""
    made: list[Federation] = []

    def make(name: str, **settings) -> Federation:
        made.append(Federation(tmp_path_factory.mktemp(name) / "fcit", **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()
