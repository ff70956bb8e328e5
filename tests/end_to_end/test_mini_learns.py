"""The shipped base really learns, sees, forgets under fine-tuning, and does not under DISCO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from app_runs import serve

from fcit_app.config import parse
from fcit_app.data.load import load_benchmark
from fcit_app.evaluate.evaluator import Evaluator
from fcit_app.model.bank import Bank
from fcit_app.reference.blind import controls


@pytest.mark.parametrize("task", ["imagenet-r", "figureqa"])
def test_a_tuned_adapter_sees_and_the_plain_base_does_not_know_the_format(task: str) -> None:
    config = parse({"preset": "mini", "data.train-samples": 200, "data.test-samples": 60})
    benchmark = load_benchmark(config)
    evaluator = Evaluator(config, benchmark)
    asked = benchmark.validation_samples(task)
    adapter, blind = controls(evaluator, benchmark.training_samples(task), asked, steps=50)
    assert evaluator.accuracy_on(Bank(), asked) < 10
    assert evaluator.accuracy_on(adapter, asked) - max(blind.values()) >= 25


def _two_stages(out: Path, method: str) -> Any:
    config = {
        "preset": "mini",
        "method": method,
        "tasks": "iconqa,ocr-vqa",
        "rounds": 2,
        "data.train-samples": 200,
        "data.test-samples": 40,
        "out": str(out),
    }
    return serve(config).read_result()


def test_disco_keeps_the_first_task_and_finetune_forgets_it(tmp_path: Path) -> None:
    disco = _two_stages(tmp_path / "disco", "disco")
    finetune = _two_stages(tmp_path / "finetune", "finetune")
    for result in (disco, finetune):
        (learned,), (kept, second) = result.accuracy
        assert learned >= 60 and second >= 60, result.accuracy
        assert result.zero_shot == [0.0, 0.0]
        assert result.backward_transfer == pytest.approx(kept - learned)
    assert len(disco.subspaces) == 2 and len(finetune.subspaces) == 1
    assert disco.backward_transfer > -20
    assert finetune.backward_transfer < -40
    assert disco.last - finetune.last >= 25
