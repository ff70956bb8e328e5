"""A client of any method."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from method_clients import Client, config_of

from fcit_app.model.base import BaseModel


@pytest.fixture
def client(tiny_base: BaseModel) -> Iterator[Any]:
    yield lambda method, **changes: Client(tiny_base, config_of(method, **changes))
