"""Blind: what can be scored without seeing the picture, as the strictest of three controls.

A task that a blind model answers is not a test of seeing. For each task the row shows the highest
of

* an adapter trained on the task's real pictures, asked about exchanged ones,
* an adapter trained on exchanged pictures, asked about exchanged ones,
* always giving the most frequent answer of the test samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fcit_app.config import RunConfig
from fcit_app.data.load import Benchmark
from fcit_app.data.partition import seed_of
from fcit_app.data.sample import Sample
from fcit_app.errors import DataError
from fcit_app.evaluate.evaluator import Evaluator, percent_right
from fcit_app.reference.progress import TaskDone
from fcit_app.reference.tuning import steps_per_stage, tune


def blind(
    config: RunConfig, benchmark: Benchmark, tasks: Sequence[str], done: TaskDone
) -> list[float]:
    """Accuracy of the strictest blind control in percent, one number a task."""
    evaluator = Evaluator(config, benchmark)
    row = []
    for number, task in enumerate(tasks, start=1):
        row.append(max(controls(evaluator, config, benchmark, task).values()))
        done(task, number)
    return row


def controls(
    evaluator: Evaluator, config: RunConfig, benchmark: Benchmark, task: str
) -> dict[str, float]:
    """Score a task's controls, in percent: ``exchanged``, ``trained blind`` and ``majority``."""
    training, test = benchmark.training_samples(task), benchmark.test_samples(task)
    unseen = exchange_pictures(test, seed_of(config.seed, "blind", task, "test"))
    blinded = exchange_pictures(training, seed_of(config.seed, "blind", task, "train"))
    steps = steps_per_stage(config)
    seeing = tune(evaluator, config, training, steps, f"{task} seeing")
    never_saw = tune(evaluator, config, blinded, steps, f"{task} blind")
    answers = [sample.answer for sample in test]
    ((most_frequent, _),) = Counter(answers).most_common(1)
    return {
        "exchanged": evaluator.accuracy_on(seeing, unseen),
        "trained blind": evaluator.accuracy_on(never_saw, unseen),
        "majority": percent_right(test, [most_frequent] * len(test)),
    }


def exchange_pictures(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Give every question the picture of another sample, in a random cycle.

    The identifier changes with the picture, so that no cache mixes the two up.

    Raises
    ------
    DataError
        If there is no other sample.
    """
    if len(samples) < 2:
        raise DataError(
            "The blind control exchanges pictures between samples, but there is only one sample. "
            "Raise data.train-samples and data.test-samples to 2 or more."
        )
    order = np.random.default_rng(seed).permutation(len(samples))
    exchanged = list(samples)
    for place, index in enumerate(order):
        other = samples[order[(place + 1) % len(order)]]
        sample = samples[index]
        exchanged[index] = replace(
            sample,
            identifier=f"{sample.identifier} with {other.identifier}",
            picture=other.picture,
        )
    return exchanged
