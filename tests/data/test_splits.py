"""Pictures of different splits are different pictures, whatever the seed and whoever draws."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from fcit_app.data.catalogue import TASK_NAMES
from fcit_app.data.mini.benchmark import MiniBenchmark
from fcit_app.data.mini.questions import Lexicon, make_dialogue
from fcit_app.data.mini.splits import split_of


@pytest.mark.parametrize("task", TASK_NAMES)
def test_splits_share_no_picture(task: str) -> None:
    pictures = {}
    for seed in (0, 1):
        benchmark = MiniBenchmark(seed, 60, 40)
        for split, samples in (
            ("train", benchmark.training_samples(task)),
            ("validation", benchmark.validation_samples(task)),
            ("test", benchmark.test_samples(task)),
        ):
            for sample in samples:
                image = sample.picture()
                assert split_of(image) == split
                assert pictures.setdefault(image.tobytes(), split) == split


def test_pretraining_draws_its_own_split_only() -> None:
    random, lexicon = Random(3), Lexicon([" the"], [" the"])
    splits = Counter(split_of(make_dialogue(random, lexicon).drawing.image) for _ in range(300))
    assert splits == {"pretraining": 300}


def test_every_split_is_drawn_often_enough_to_be_cheap() -> None:
    from fcit_app.data.mini import pictures

    random = Random(0)
    splits = Counter(split_of(pictures.scene(random).drawing.image) for _ in range(2000))
    assert splits["pretraining"] > splits["train"] > splits["test"] > 150
    assert splits["validation"] > 150
