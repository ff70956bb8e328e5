"""Small results and run folders for tests of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fcit_app.runs import RunFolder, RunResult


def toy_result(
    method: str = "disco",
    tasks: tuple[str, ...] | list[str] = ("imagenet-r", "figureqa"),
    accuracy: list[list[float]] | None = None,
    last: float | None = None,
    avg: float | None = None,
    transfer: float | None = None,
    total: float | None = None,
    up: int | None = None,
    down: int | None = None,
    **fields: Any,
) -> RunResult:
    """A checked result; what is not given is missing."""
    content = {
        "method": method,
        "aggregator": "fedavg",
        "setting": "task",
        "scenario": "hom",
        "beta": 1.0,
        "seed": 0,
        "tasks": list(tasks),
        "accuracy": accuracy,
        "last": last,
        "avg": avg,
        "backward_transfer": transfer,
        "forgetting": None,
        "zero_shot": None,
        "subspaces": None,
        "seconds": {"train": None, "aggregate": None, "evaluate": None, "total": total},
        "bytes": {"up": up, "down": down},
    }
    return RunResult.check(content | fields)


def toy_run(path: Path, result: RunResult) -> Path:
    """A finished run's folder."""
    config = {"method": result.method, "preset": "mini", "note": "<script>alert(1)</script>"}
    folder = RunFolder.create(path, config, {"python": "3.11"})
    folder.write_result(result.model_dump())
    return folder.path
