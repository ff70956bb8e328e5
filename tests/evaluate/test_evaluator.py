"""Scores of a bank, and the switches between the paper's evaluation and the released code's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from app_runs import run_config
from tiny_llava import toy_samples
from toy_banks import random_bank

from fcit_app.config import parse
from fcit_app.data.load import load_benchmark
from fcit_app.evaluate.evaluator import Evaluator, TaskScore, percent_right
from fcit_app.model.adapters import parameter_handles
from fcit_app.model.bank import Bank

TASKS = ("iconqa", "clevr-math", "dvqa")
Scored = Callable[..., list[TaskScore]]


@pytest.fixture
def scored(tiny_folder: Path, tmp_path: Path) -> Scored:
    def score(bank_of: int = 3, **settings: Any) -> list[TaskScore]:
        size = {"data__test_samples": 6, "train__rank": 4, "identity__temperature": 0.2}
        config = parse(run_config(tiny_folder, tmp_path / "run", **(size | settings)))
        evaluator = Evaluator(config, load_benchmark(config))
        handles = parameter_handles(evaluator.model, projector=False)
        return evaluator.scores(random_bank(handles, bank_of) if bank_of else Bank(), TASKS)

    return score


def weights(scores: list[TaskScore]) -> list[float]:
    return [w for score in scores if score.activation for w in score.activation.weights]


def test_routing_by_batch_depends_on_the_batch_size_and_by_sample_does_not(scored: Scored) -> None:
    alone = scored()
    assert scored(evaluate__batch_size=2) == alone
    assert weights(scored(evaluate__routing="batch", evaluate__batch_size=1)) == pytest.approx(
        weights(alone), abs=1e-6
    )
    six = weights(scored(evaluate__routing="batch", evaluate__batch_size=6))
    two = weights(scored(evaluate__routing="batch", evaluate__batch_size=2))
    assert six != pytest.approx(weights(alone), abs=1e-6)
    assert two != pytest.approx(six, abs=1e-6)


def test_the_plain_base_activates_nothing(scored: Scored) -> None:
    assert [score.activation for score in scored(0)] == [None] * 3
    assert [score.task for score in scored(0)] == list(TASKS)


def test_full_weight_of_all_subspaces_is_no_distribution(scored: Scored) -> None:
    for score in scored(activation="concat"):
        assert score.activation is not None
        assert score.activation.entropy is score.activation.strongest is None


def test_empty_answers_are_right_for_the_released_scripts_only() -> None:
    for task, right in (("dvqa", 100), ("figureqa", 100), ("iconqa", 0)):
        samples = toy_samples(3, task)
        assert percent_right(samples, [""] * 3) == 0
        assert percent_right(samples, [""] * 3, "official") == right
