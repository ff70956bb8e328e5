"""Centralized: one adapter trained jointly on all tasks in one place, the upper bound.

It has the total rank that DISCO has at its end (rank times stages) and takes as many steps on the
same samples as all stages together; nobody could do this without moving the data.
"""

from __future__ import annotations

from collections.abc import Sequence

from fcit_app.config import RunConfig
from fcit_app.data.load import Benchmark
from fcit_app.data.stages import make_stages
from fcit_app.evaluate.evaluator import Evaluator
from fcit_app.reference.progress import TaskDone
from fcit_app.reference.tuning import steps_per_stage, tune


def centralized(
    config: RunConfig, benchmark: Benchmark, tasks: Sequence[str], done: TaskDone
) -> list[float]:
    """Accuracy after joint training in percent, one number a task."""
    stages = len(make_stages(config))
    train = config.train.model_copy(update={"rank": config.train.rank * stages})
    joint = config.model_copy(update={"train": train})
    evaluator = Evaluator(joint, benchmark)
    samples = [sample for task in tasks for sample in benchmark.training_samples(task)]
    bank = tune(evaluator, joint, samples, stages * steps_per_stage(config), "joint training")
    return evaluator.accuracy(bank, tasks, done)
