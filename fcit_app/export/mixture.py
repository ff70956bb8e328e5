"""A fixed mixture of subspaces, asked for by tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fcit_app.errors import ConfigError


def read_mixture(text: str) -> dict[str, float]:
    """Read ``task=weight,task=weight``.

    Raises
    ------
    ConfigError
        With every part that is no task and finite number, or names a task again.
    """
    found: dict[str, float] = {}
    problems = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        task, _, number = (piece.strip() for piece in part.partition("="))
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not task or not math.isfinite(weight):
            problems.append(f"--mixture: {part!r} is no task=weight, such as figureqa=0.5.")
        elif task in found:
            problems.append(f"--mixture: {task} is given twice. Keep one of them.")
        found[task] = weight
    if not found:
        problems.append("--mixture: it is empty. Give task=weight,task=weight.")
    if problems:
        raise ConfigError(problems)
    return found


def subspace_weights(
    mixture: Mapping[str, float], task_counts: Mapping[int, Mapping[str, int]]
) -> dict[int, float]:
    """Weight of each subspace: a task's is divided as the task's samples are.

    Parameters
    ----------
    mixture : Mapping[str, float]
        Task to weight.
    task_counts : Mapping[int, Mapping[str, int]]
        Identifier of a subspace to the samples it was trained on, by task.

    Returns
    -------
    dict[int, float]
        Of the subspaces with a weight other than 0; the weights' sum is the mixture's.

    Raises
    ------
    ConfigError
        If a task was not trained, or nothing is left.
    """
    known = sorted({task for counts in task_counts.values() for task in counts})
    problems = [
        f"--mixture: the run has no samples of {task!r}; it learned {', '.join(known)}."
        for task in mixture
        if task not in known
    ]
    if problems:
        raise ConfigError(problems)
    weights = dict.fromkeys(task_counts, 0.0)
    for task, weight in mixture.items():
        samples = sum(counts.get(task, 0) for counts in task_counts.values())
        for identifier, counts in task_counts.items():
            weights[identifier] += weight * counts.get(task, 0) / samples
    left = {identifier: weight for identifier, weight in weights.items() if weight}
    if not left:
        raise ConfigError("--mixture: all weights are 0. Give at least one other weight.")
    return left
