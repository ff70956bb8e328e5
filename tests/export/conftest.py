"""Shared by the tests of what is taken out of a run."""

from __future__ import annotations

import pytest
from export_runs import random_run

from fcit_app.evaluate.saved_run import SavedRun


@pytest.fixture(scope="module")
def run(tiny_base, tmp_path_factory) -> SavedRun:
    """DISCO with three random subspaces. Do not write to it."""
    return random_run(tiny_base, tmp_path_factory.mktemp("runs") / "disco")
