"""Zero-shot: the plain base, never tuned, on every task."""

from __future__ import annotations

from collections.abc import Sequence

from fcit_app.config import RunConfig
from fcit_app.data.load import Benchmark
from fcit_app.evaluate.evaluator import Evaluator
from fcit_app.model.bank import Bank
from fcit_app.reference.progress import TaskDone


def zero_shot(
    config: RunConfig, benchmark: Benchmark, tasks: Sequence[str], done: TaskDone
) -> list[float]:
    """Accuracy of the base in percent, one number a task."""
    return Evaluator(config, benchmark).accuracy(Bank(), tasks, done)
