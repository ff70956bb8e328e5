"""Finished runs of every federated method on the small LLaVA, to evaluate again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app_runs import run_config, serve

from fcit_app.runs import RunFolder

ODD: dict[str, Any] = {
    "method": "disco",
    "projector": "per-subspace",
    "identity__token": "text+image",
    "identity__prototypes": 2,
    "identity__temperature": 0.5,
    "evaluate__routing": "batch",
}
"""DISCO with all that an evaluation could get wrong."""


def make_saved_run(model: Path, out: Path, **changes: Any) -> RunFolder:
    """A run whose tasks have eight test samples, answered three at a time."""
    size = {"data__test_samples": 8, "evaluate__batch_size": 3}
    return serve(run_config(model, out, **(size | changes)))
