"""The mini benchmark's samples: any split of any task, from a seed, with nothing kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from PIL import Image

from fcit_app.data.catalogue import task as find_task
from fcit_app.data.mini.splits import Split, SplitPen
from fcit_app.data.mini.tasks import Exercise, make_exercise
from fcit_app.data.sample import Sample


@dataclass(frozen=True)
class MiniBenchmark:
    """Drawn samples of the twelve tasks.

    Parameters
    ----------
    seed : int
        Another seed gives other pictures and questions in every split.
    train_size : int
        Training samples of a task, over all clients.
    test_size : int
        Test samples of a task; validation has as many.
    """

    seed: int
    train_size: int
    test_size: int

    def training_samples(self, task: str) -> Sequence[Sample]:
        """All training samples of a task, before they are dealt to clients."""
        return _samples(task, "train", self.seed, self.train_size)

    def validation_samples(self, task: str) -> Sequence[Sample]:
        """Give samples for choosing settings; the benchmark's numbers never come from here."""
        return _samples(task, "validation", self.seed, self.test_size)

    def test_samples(self, task: str) -> Sequence[Sample]:
        """Held-out samples that the accuracy matrix is made from."""
        return _samples(task, "test", self.seed, self.test_size)


def _exercise(task: str, split: Split, seed: int, index: int) -> Exercise:
    # Seeding with a text hashes it with SHA-512: the same on every machine and in every process.
    return make_exercise(task, SplitPen(Random(f"{seed}/{split}/{task}/{index}"), split))


@cache
def _samples(task: str, split: Split, seed: int, count: int) -> tuple[Sample, ...]:
    find_task(task)
    return tuple(_sample(task, split, seed, index) for index in range(count))


def _sample(task: str, split: Split, seed: int, index: int) -> Sample:
    exercise = _exercise(task, split, seed, index)

    def picture() -> Image.Image:
        return _exercise(task, split, seed, index).drawing.image

    identifier = f"{task}/{split}/{seed}/{index}"
    return Sample(identifier, task, exercise.question, exercise.answer, picture)
