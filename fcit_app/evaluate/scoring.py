"""Which metric judges a task's answers: the paper's reading, or that of the released scripts."""

from __future__ import annotations

from typing import Literal, get_args

from fcit_app.data.catalogue import task as find_task
from fcit_app.evaluate.metrics import Rule

Scoring = Literal["paper", "official"]
SCORINGS: tuple[Scoring, ...] = get_args(Scoring)

_SUBSTRING_TASKS = frozenset({"dvqa", "figureqa"})
"""Scored by the released ``eval_okvqa`` script."""


def rule_of(task: str, scoring: Scoring = "paper") -> Rule:
    """Tell how a task's answers are judged, see ``metrics.score``.

    Parameters
    ----------
    task : str
        One of the twelve.
    scoring : {"paper", "official"}
        ``official`` keeps two defects of the released scripts: substrings of the reference are
        right for dvqa and figureqa, and boxes lose their first and last character.

    Raises
    ------
    DataError
        If there is no such task.
    """
    metric = find_task(task).metric
    if scoring == "official":
        if metric == "box":
            return "cut-box"
        if task in _SUBSTRING_TASKS:
            return "substring"
    return metric
