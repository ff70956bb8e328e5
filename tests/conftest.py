"""Fixtures that several rooms' tests share; heavy imports happen only when one is asked for."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fcit_app.model.base import BaseModel
    from fcit_app.model.vision import VisionFeatures
    from fcit_app.runs import RunFolder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random LLaVA in Hugging Face layout. Do not write to it."""
    from tiny_llava import save_tiny_llava

    return save_tiny_llava(tmp_path_factory.mktemp("tiny-llava"))


@pytest.fixture(scope="session")
def tiny_base(tiny_folder: Path) -> BaseModel:
    """The small LLaVA as the product loads it; shared, so whoever changes it must restore it."""
    from fcit_app.model.base import load_base

    return load_base(str(tiny_folder))


@pytest.fixture(scope="session")
def tiny_vision(tiny_base: BaseModel) -> VisionFeatures:
    """The picture cache of the small LLaVA."""
    from fcit_app.model.vision import VisionFeatures

    return VisionFeatures(tiny_base)


@pytest.fixture(scope="session")
def saved_disco(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of DISCO with two subspaces. Do not write to it."""
    from saved_runs import make_saved_run

    return make_saved_run(tiny_folder, tmp_path_factory.mktemp("saved") / "disco")


def pytest_configure() -> None:
    """Let tests interrupt the processes they start, wherever the suite runs.

    Jobs that a script starts in the background begin with SIGINT ignored, and so would all
    processes of theirs.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_LONGEST = ("deployment", "end_to_end", "kill")
"""Folders whose files take minutes: begun first, so that no process works on alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: item.path.parent.name not in _LONGEST)
