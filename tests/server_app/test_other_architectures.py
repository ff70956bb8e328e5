"""Whole runs of bases with other architectures: the same program, another folder.

Of text alone: ``test_text_alone_runs.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from app_runs import run_config, serve
from tiny_models import save_tiny_model

SHORT = {"tasks": "figureqa", "train__steps": 1, "data__test_samples": 1}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("qwen2_5_vl", {"projector": "per-subspace", "train__lora_targets": "ffn+attention"}),
        ("smolvlm", {"identity__token": "text+image"}),
    ],
)
def test_a_run_ends_with_a_bank(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    model = save_tiny_model(kind, tmp_path / "model")
    folder = serve(run_config(model, tmp_path / "run", **SHORT, **changes))
    result = folder.read_result()
    assert len(result.subspaces) == 1
    assert len(result.accuracy) == 1
