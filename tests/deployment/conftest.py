"""Federations of real processes that end with their tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from deployed import Federation


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
