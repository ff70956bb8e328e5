"""What the end-to-end tests share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psutil
import pytest
from marked_processes import marked


@pytest.fixture
def mark() -> Iterator[str]:
    """A mark of this test's own; whatever still carries it in the end is ended."""
    mark = uuid.uuid4().hex
    yield mark
    left = marked(mark)
    for process in left:
        process.terminate()
    psutil.wait_procs(left, timeout=20)
