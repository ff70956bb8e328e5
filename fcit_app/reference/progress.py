"""How a reference method says where it is."""

from __future__ import annotations

from collections.abc import Callable

TaskDone = Callable[[str, int], None]
"""Called after each task with its name and the number of tasks done."""
