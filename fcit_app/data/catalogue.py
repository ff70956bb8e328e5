"""The twelve FCIT tasks as data: names, capabilities, metrics and published orders.

Source: "Federated Continual Instruction Tuning" (ICCV 2025), its published partitions for the
order of the eight task stages, its evaluation scripts for the metrics.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from fcit_app.errors import DataError

Metric = Literal["exact", "box"]
Setting = Literal["task", "capability"]


@dataclass(frozen=True)
class Task:
    """What evaluation needs to know about a task.

    Parameters
    ----------
    name : str
        FCIT name in lower case.
    capability : str
        The capability stage to which the task belongs.
    metric : {"exact", "box"}
        How one answer is scored, see ``fcit_app.evaluate.metrics``; but captions of a data folder
        are scored together, see ``fcit_app.evaluate.captions``.
    max_new_tokens : int
        Longest answer that is generated, in tokens of the mini tokenizer.
    """

    name: str
    capability: str
    metric: Metric
    max_new_tokens: int


_TASKS = (
    Task("imagenet-r", "general", "exact", 6),
    Task("arxivqa", "chart", "exact", 6),
    Task("iconqa", "general", "exact", 6),
    Task("clevr-math", "math", "exact", 6),
    Task("ocr-vqa", "other", "exact", 8),
    Task("flickr30k", "other", "exact", 16),
    Task("figureqa", "chart", "exact", 6),
    Task("super-clevr", "math", "exact", 6),
    Task("aokvqa", "general", "exact", 6),
    Task("grounding", "general", "box", 24),
    Task("dvqa", "chart", "exact", 6),
    Task("tabmwp", "math", "exact", 6),
)

TASK_NAMES: tuple[str, ...] = tuple(task.name for task in _TASKS)
REST = "rest"
"""In place of task names: all tasks that a run never trains."""
TASK_STAGES: tuple[str, ...] = TASK_NAMES[:8]
CAPABILITIES: tuple[str, ...] = ("general", "chart", "math", "other")

_PRIVATE = re.compile(r"private/[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PRIVATE_ANSWER = 128  # tokens, as the official scripts give every data set


def task(name: str) -> Task:
    """Look a task up by name; a client's private task answers for itself, see ``is_private``.

    Raises
    ------
    DataError
        If there is no such task; names the nearest one.
    """
    for entry in _TASKS:
        if entry.name == name:
            return entry
    if is_private(name):
        return Task(name, "private", "exact", _PRIVATE_ANSWER)
    hint = closest(name, TASK_NAMES)
    raise DataError(f"There is no task '{name}'.{hint} Tasks are: {', '.join(TASK_NAMES)}.")


def is_private(name: str) -> bool:
    """Whether a name is that of a client's own task, such as ``private/radiology``.

    A letter or digit after the slash, then up to 63 more of these, dots, dashes and underscores:
    it is a folder's name, and a word in lessons and metrics.
    """
    return _PRIVATE.fullmatch(name) is not None


def closest(name: str, names: Sequence[str]) -> str:
    """Hint at the name that was probably meant; empty, or starts with a space."""
    near = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def never_trained(names: Sequence[str], trained: Collection[str]) -> tuple[str, ...]:
    """Resolve the names of tasks that a run never trains: ``rest`` stands for all of them."""
    if tuple(names) == (REST,):
        return tuple(name for name in TASK_NAMES if name not in trained)
    return tuple(names)


def stages(setting: Setting) -> tuple[str, ...]:
    """Names of the stages in the published order: eight tasks, or four capabilities."""
    return TASK_STAGES if setting == "task" else CAPABILITIES


def tasks_of(stage: str) -> tuple[str, ...]:
    """Tasks that a stage teaches: itself, or every task of the capability."""
    if stage in CAPABILITIES:
        return tuple(entry.name for entry in _TASKS if entry.capability == stage)
    return (task(stage).name,)
