"""How a reference method says where it is."""

from __future__ import annotations

from typing import Protocol


class TaskDone(Protocol):
    """Called after each task with its name and the number of tasks done."""

    def __call__(self, task: str, number: int, /) -> None:
        """Take note."""
