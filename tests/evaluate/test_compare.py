"""`fcit compare`: verdicts on finished runs of three seeds, and the intervals they rest on."""

from __future__ import annotations

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from fcit_app.errors import ConfigError
from fcit_app.evaluate.compare import compare
from fcit_app.evaluate.noise import count_draws, over_seeds, over_tasks, paired_draws, span_of
from fcit_app.evaluate.predictions import Prediction, PredictionFile
from fcit_app.runs import RunFolder

MINI = Path(__file__).parents[2] / "benchmarks" / "results" / "mini"
SEEDS = ("as-it-is", "seed=1", "seed=2")


def runs(method: str) -> list[Path]:
    return [MINI / method / seed for seed in SEEDS]


@pytest.mark.parametrize("method", ["disco", "finetune"])
def test_seeds_of_one_setting_are_no_difference(method):
    for a, b in combinations(runs(method), 2):
        found = compare([a], [b])
        assert not found.beyond_noise, found.sentence
        assert found.sentence.startswith("no difference")
        assert any(text.startswith("seed was") for text in found.differences)
    assert not compare(runs(method)[:2], runs(method)[2:]).beyond_noise


def test_disco_and_finetune_are_different():
    for a, b in zip(runs("finetune"), runs("disco"), strict=True):
        assert compare([a], [b]).sentence.startswith("different: Last is")
    found = compare(runs("finetune"), runs("disco"))
    assert found.beyond_noise
    assert found.measured[0].difference == pytest.approx(52.39, abs=0.01)
    assert [row.name for row in found.measured[:2]] == ["Last", "Avg"]


def test_a_group_is_one_setting():
    with pytest.raises(ConfigError, match="is no other seed of"):
        compare([MINI / "disco/as-it-is", MINI / "finetune/seed=1"], runs("disco"))


def test_paired_answers_know_more_than_counts():
    generator = np.random.default_rng(0)
    paired = span_of(paired_draws([1.0] * 10 + [0.0] * 140, generator))
    alone = [count_draws(percent, 150, generator) for percent in (80.0, 80.0 + 1000 / 150)]
    counted = span_of(alone[1] - alone[0])
    assert counted[0] < 0 < paired[0]
    assert paired[1] - paired[0] < counted[1] - counted[0]


def test_kept_answers_are_compared_question_by_question(tmp_path):
    paths = []
    for name, right in (("a", 98), ("b", 110)):
        path = shutil.copytree(MINI / "disco/as-it-is", tmp_path / name)
        said = [
            Prediction(f"q{i}", "imagenet-r", "?", "", "", {"paper": i < right}, None, ())
            for i in range(150)
        ]
        PredictionFile(RunFolder(path).predictions_file(8)).replace(said)
        paths.append(path)
    last, _, task, other, *_ = compare(paths[:1], paths[1:]).measured
    assert task.paired and not other.paired and not last.paired
    assert task.questions[0] < 8 < task.questions[1], "12 of 150 questions"
    assert task.questions[0] > 0


def test_noise_is_found_as_often_as_it_should_be():
    draw = np.random.default_rng(0)
    groups = [(draw.normal(size=3), draw.normal(size=3)) for _ in range(400)]
    missed = [not low <= 0 <= high for low, high in (over_seeds(a, b, 0.0) for a, b in groups)]
    tasks = [over_tasks(draw.normal(size=8)) for _ in range(400)]
    assert np.mean(missed) < 0.08
    assert np.mean([not span[0] <= 0 <= span[1] for span in tasks]) < 0.08
