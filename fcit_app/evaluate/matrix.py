"""Summaries of a run's accuracy matrix: Last, Avg, backward transfer and forgetting.

The matrix has a row per stage; row t holds ``a[t][j]``, the accuracy in percent after stage t of
each task j learned so far, in the order in which tasks were first learned. A row grows by the tasks
that its stage teaches: one in the task setting, several in the capability setting, none where a
stage only brings back old tasks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fcit_app.errors import DataError

Matrix = Sequence[Sequence[float]]


def last(matrix: Matrix) -> float:
    """Mean accuracy over all tasks after the last stage: ``A_T = mean_j a[T][j]`` (FCIT, Last)."""
    _check(matrix)
    return _mean(matrix[-1])


def average(matrix: Matrix) -> float:
    """Mean over the stages of the mean accuracy over the tasks seen so far (FCIT, Avg).

    ``1/T sum_t A_t`` with ``A_t = mean_j a[t][j]``.
    """
    _check(matrix)
    return _mean([_mean(row) for row in matrix])


def backward_transfer(matrix: Matrix) -> float | None:
    """How much later stages helped (positive) or hurt (negative) the tasks before them.

    Mean of ``a[T][j] - a[f(j)][j]`` over all tasks first learned, in stage f(j), before the last
    stage T (Lopez-Paz and Ranzato, "Gradient Episodic Memory", 2017, for one task a stage).

    Returns
    -------
    float or None
        Percentage points; None if no task is older than the last stage.
    """
    first = first_stage_of_task(matrix)
    end = len(matrix) - 1
    changes = [matrix[end][j] - matrix[f][j] for j, f in enumerate(first) if f < end]
    return _mean(changes) if changes else None


def forgetting(matrix: Matrix) -> float | None:
    """How far tasks fell from their best: mean of ``max_{t<T} a[t][j] - a[T][j]``.

    Over all tasks first learned before the last stage T, t from the stage that taught j (Chaudhry
    and others, "Riemannian Walk for Incremental Learning", 2018). Negative if tasks still improve.

    Returns
    -------
    float or None
        Percentage points; None if no task is older than the last stage.
    """
    first = first_stage_of_task(matrix)
    end = len(matrix) - 1
    drops = [
        max(matrix[t][j] for t in range(f, end)) - matrix[end][j]
        for j, f in enumerate(first)
        if f < end
    ]
    return _mean(drops) if drops else None


def first_stage_of_task(matrix: Matrix) -> tuple[int, ...]:
    """Row, from 0, in which each task (column) first appears.

    Raises
    ------
    DataError
        If the matrix is empty, a row is shorter than the one before, or a number is not finite.
    """
    _check(matrix)
    first: list[int] = []
    for stage, row in enumerate(matrix):
        first.extend([stage] * (len(row) - len(first)))
    return tuple(first)


def _check(matrix: Matrix) -> None:
    lengths = [len(row) for row in matrix]
    if not lengths or lengths[0] == 0 or lengths != sorted(lengths):
        raise DataError(
            f"An accuracy matrix needs rows that never get shorter; these have {lengths} entries."
        )
    if not all(math.isfinite(value) for row in matrix for value in row):
        raise DataError("An accuracy matrix holds a number that is not finite.")


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
