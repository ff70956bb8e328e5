"""Blind: what can be scored without seeing the picture, as the strictest of three controls.

A task that a blind model answers is not a test of seeing. For each task the row shows the highest
of

* an adapter trained on the task's real pictures, asked about exchanged ones,
* an adapter trained on exchanged pictures, asked about exchanged ones,
* always giving the most frequent answer of the test samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import torch

from fcit_app.config import RunConfig
from fcit_app.data.load import Benchmark, load_benchmark
from fcit_app.data.partition import seed_of
from fcit_app.data.sample import Sample
from fcit_app.errors import DataError
from fcit_app.evaluate.evaluator import Evaluator, percent_right
from fcit_app.model.bank import Bank
from fcit_app.reference.progress import TaskDone
from fcit_app.reference.tuning import steps_in_a_row, tune
from fcit_app.workers import usable_cores, worker_pool

_WORTH_PROCESSES = 4
"""Fewer tasks are done sooner in this process than other processes are started."""


def blind(
    config: RunConfig, benchmark: Benchmark, tasks: Sequence[str], done: TaskDone
) -> list[float]:
    """Accuracy of the strictest blind control in percent, one number a task.

    Tasks have nothing to do with each other, so from four of them on they are shared out to one
    process a core; the numbers are the same.
    """
    row = []
    with closing(_scores(config, benchmark, tasks)) as scores:
        for number, (task, score) in enumerate(scores, start=1):
            row.append(score)
            done(task, number)
    return row


def _scores(
    config: RunConfig, benchmark: Benchmark, tasks: Sequence[str]
) -> Generator[tuple[str, float]]:
    if len(tasks) < _WORTH_PROCESSES:
        evaluator = Evaluator(config, benchmark)
        for task in tasks:
            yield task, _strictest(evaluator, benchmark, task)
        return
    with worker_pool(min(usable_cores(), len(tasks))) as pool:
        yield from zip(tasks, pool.map(partial(_in_worker, config), tasks), strict=True)


@lru_cache(maxsize=1)
def _worker(config_text: str) -> tuple[Evaluator, Benchmark]:
    torch.set_num_threads(1)
    config = RunConfig.model_validate_json(config_text)
    benchmark = load_benchmark(config)
    return Evaluator(config, benchmark), benchmark


def _in_worker(config: RunConfig, task: str) -> float:
    return _strictest(*_worker(config.model_dump_json(by_alias=True)), task)


def _strictest(evaluator: Evaluator, benchmark: Benchmark, task: str) -> float:
    training, test = benchmark.training_samples(task), benchmark.test_samples(task)
    _, found = controls(evaluator, training, test, steps_in_a_row(evaluator.config))
    return max(found.values())


def controls(
    evaluator: Evaluator, training: Sequence[Sample], asked: Sequence[Sample], steps: int
) -> tuple[Bank, dict[str, float]]:
    """Score the controls of one task.

    Parameters
    ----------
    evaluator : Evaluator
        Gives base, seed and settings.
    training, asked : Sequence[Sample]
        Training and held-out samples of the same task.
    steps : int
        Optimiser steps of each adapter.

    Returns
    -------
    tuple
        The adapter trained on the real pictures, and per cent for ``exchanged``,
        ``trained blind`` and ``majority``.
    """
    config, task = evaluator.config, asked[0].task
    unseen = exchange_pictures(asked, seed_of(config.seed, "blind", task, "asked"))
    blinded = exchange_pictures(training, seed_of(config.seed, "blind", task, "training"))
    seeing = tune(evaluator, config, training, steps, f"{task} seeing")
    never_saw = tune(evaluator, config, blinded, steps, f"{task} blind")
    answers = [sample.answer for sample in asked]
    ((most_frequent, _),) = Counter(answers).most_common(1)
    return seeing, {
        "exchanged": evaluator.accuracy_on(seeing, unseen),
        "trained blind": evaluator.accuracy_on(never_saw, unseen),
        "majority": percent_right(asked, [most_frequent] * len(asked), config.evaluate.scoring),
    }


def exchange_pictures(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Give every question the picture of another sample, in a random cycle.

    The identifier changes with the picture, so that no cache mixes the two up.

    Raises
    ------
    DataError
        If there is no other sample, or one has no picture.
    """
    for sample in samples:
        if sample.picture is None:
            raise DataError(
                "The blind control exchanges pictures between samples, but the sample "
                f"'{sample.identifier}' of {sample.task} has none. Name tasks with pictures."
            )
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
