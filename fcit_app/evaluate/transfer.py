"""Accuracy on tasks before, or without, their training: what learning others did for them.

A full matrix has a column for every task of the run, not only for those seen: ``a[t][j]`` is the
accuracy in percent after stage t on task j. ``b[j]`` is the plain base's own zero-shot accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fcit_app.evaluate.matrix import Matrix, first_stage_of_task


def forward_transfer(full: Matrix, zero_shot: Sequence[float], seen: Sequence[int]) -> float | None:
    """How much the stages before a task helped it: mean of ``a[f(j)-1][j] - b[j]``.

    Over all tasks j that are first learned in a stage f(j) after the first (Lopez-Paz and Ranzato,
    "Gradient Episodic Memory", 2017, for one task a stage; their b is a model with random weights,
    ours is the pre-trained base, as zero-shot transfer is measured for such models).

    Parameters
    ----------
    full : Matrix
        A row per stage so far, a column per task in the order in which they are first learned.
    zero_shot : Sequence[float]
        ``b``, a number per column.
    seen : Sequence[int]
        How many columns had been learned after each stage.

    Returns
    -------
    float or None
        Percentage points; None before a second stage has brought a task.
    """
    first = first_stage_of_task([full[stage][:count] for stage, count in enumerate(seen)])
    gains = [full[f - 1][j] - zero_shot[j] for j, f in enumerate(first) if f > 0]
    return _mean(gains)


def zero_shot_transfer(
    row: Sequence[float], zero_shot: Sequence[float], seen: int
) -> tuple[float | None, float | None]:
    """Mean accuracy over the tasks not learned after a stage, and what it gained over the base.

    FCIT reports the former as its zero-shot result on unseen tasks.

    Parameters
    ----------
    row : Sequence[float]
        Accuracy after the stage, in percent, the tasks learned by then first.
    zero_shot : Sequence[float]
        The base's, a number per column of the row.
    seen : int
        How many columns had been learned.

    Returns
    -------
    tuple
        Mean in percent and mean gain in percentage points; both None if nothing is unseen.
    """
    unseen = row[seen:]
    gains = [after - before for after, before in zip(unseen, zero_shot[seen:], strict=True)]
    return _mean(unseen), _mean(gains)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
