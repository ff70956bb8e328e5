"""Part of an evaluation: some batches of some tasks, and what is told of the answers to them.

Batches are those of the central plan (``Predictor.plan``), whole ones, so that their answers are
the same to the bit whoever gives them. What is told adds up exactly, so the sums of all shards are
the whole's, whoever answered what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from fcit_app.data.fingerprint import samples_digest
from fcit_app.data.load import Benchmark
from fcit_app.data.sample import Sample
from fcit_app.errors import DataError
from fcit_app.evaluate.activation_summary import ActivationTally, tally_weights
from fcit_app.evaluate.evaluator import TaskScore, task_score
from fcit_app.evaluate.predictions import Prediction
from fcit_app.evaluate.predictor import Batch, Predictor
from fcit_app.evaluate.scoring import Scoring
from fcit_app.evaluate.statistics import Statistics, measure, metric_of


@dataclass(frozen=True)
class TaskTally:
    """Sums over some answered questions of a task.

    Parameters
    ----------
    questions : int
        How many, at least 1.
    right : int
        How many answers are right.
    activation : ActivationTally or None
        How the bank was activated for them; None where nothing is routed.
    """

    questions: int
    right: int
    activation: ActivationTally | None

    def __add__(self, other: TaskTally) -> TaskTally:
        """Add both parts, answered by one bank."""
        both = self.activation is not None and other.activation is not None
        return TaskTally(
            self.questions + other.questions,
            self.right + other.right,
            self.activation + other.activation  # type: ignore[operator]
            if both
            else None,
        )

    def score(
        self, samples: Sequence[Sample], scoring: Scoring, answers: Sequence[str] = ()
    ) -> TaskScore:
        """Score the task, all of whose samples have been counted; captions need all answers."""
        activation = None if self.activation is None else self.activation.summary()
        metric = metric_of(samples[0], scoring)
        statistics = (
            measure(samples, answers, scoring)
            if samples[0].references
            else Statistics(metric, self.questions, self.right)
        )
        return task_score(samples[0].task, statistics, activation)


def deal_batches(batches: Sequence[Batch], clients: Sequence[int]) -> dict[int, list[Batch]]:
    """Deal batches to clients in turn; clients for whom none is left are left out.

    Neighbours in the plan are alike in length, so that shares of equal number are of equal work.
    """
    dealt: dict[int, list[Batch]] = {}
    for number, batch in enumerate(batches):
        dealt.setdefault(clients[number % len(clients)], []).append(batch)
    return dealt


def by_task(batches: Sequence[Batch]) -> dict[str, list[Batch]]:
    """Batches of each task, in their order."""
    found: dict[str, list[Batch]] = {}
    for batch in batches:
        found.setdefault(batch.task, []).append(batch)
    return found


def answer_shard(predictor: Predictor, batches: Sequence[Batch]) -> dict[str, list[Prediction]]:
    """Answer batches with a predictor that is entered, task by task, in their order."""
    return {
        task: [said for batch in asked for said in predictor.predict(batch)]
        for task, asked in by_task(batches).items()
    }


def tally(predictions: Sequence[Prediction], scoring: Scoring) -> TaskTally:
    """Add up the predictions, at least one, of one task; no caption is right or wrong."""
    rows = [list(entry.weights.values()) for entry in predictions if entry.weights is not None]
    return TaskTally(
        len(predictions),
        sum(entry.right[scoring] for entry in predictions if entry.right),
        tally_weights(torch.tensor(rows, dtype=torch.float32)) if rows else None,
    )


def check_samples(benchmark: Benchmark, digests: Mapping[str, str]) -> None:
    """Check that test samples are those that somebody else's plan is about.

    Parameters
    ----------
    benchmark : Benchmark
        Gives ours.
    digests : Mapping[str, str]
        Task to what ``samples_digest`` made of theirs.

    Raises
    ------
    DataError
        If they differ.
    """
    for task, digest in digests.items():
        if samples_digest(benchmark.test_samples(task)) != digest:
            raise DataError(
                f"The test samples of {task} here are not those of the server. Give all nodes the "
                "same files and the same version of this program."
            )
