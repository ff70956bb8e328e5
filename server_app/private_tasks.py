"""Clients with a task of their own: what they told is judged, and put into the stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flwr.app import ConfigRecord

from fcit_app.config import RunConfig
from fcit_app.data.catalogue import is_private
from fcit_app.data.folder.private import STAGES_KEY, TASK_KEY, private_test_file
from fcit_app.data.stages import Stage
from fcit_app.errors import RunError

PRIVATE = "private"
"""Record of a node's answer to the hello query that tells of its private task."""


@dataclass(frozen=True)
class PrivateTask:
    """A client's own task.

    Parameters
    ----------
    name : str
        Such as ``private/radiology``.
    stages : tuple[int, ...]
        Numbers, from 1, of the stages in which it is learnt; empty: in all.
    """

    name: str
    stages: tuple[int, ...] = ()


def read_private(record: ConfigRecord, stages: int) -> PrivateTask | str:
    """Read what a node told of its private task, or say what is wrong with it.

    Parameters
    ----------
    record : ConfigRecord
        ``task`` (str) and ``stages`` (list of int).
    stages : int
        How many the run has.
    """
    name, numbers = record.get("task"), record.get("stages")
    if not isinstance(name, str) or not is_private(name):
        return f"its private task is called {name!r} ({TASK_KEY})"
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        return f"it learns {name} in stages that are no whole numbers ({STAGES_KEY})"
    wanted = tuple(int(number) for number in numbers)
    beyond = [number for number in wanted if not 1 <= number <= stages]
    if beyond:
        return (
            f"it learns {name} in stage {beyond[0]} ({STAGES_KEY}), but the run has {stages} "
            f"stages; allowed: 1 to {stages}"
        )
    return PrivateTask(name, wanted)


def with_private_tasks(
    stages: Sequence[Stage], private: Mapping[int, PrivateTask], root: str
) -> tuple[Stage, ...]:
    """Put private tasks into the stages in which they are learnt.

    Parameters
    ----------
    stages : Sequence[Stage]
        The run's.
    private : Mapping[int, PrivateTask]
        By client.
    root : str
        ``data.root``: only a private task with test samples there is evaluated, and thus among the
        tasks of its stages.
    """
    return tuple(_with_private(stage, private, root) for stage in stages)


def private_facts(private: Mapping[int, PrivateTask]) -> dict[str, list[object]]:
    """Private tasks as JSON, by which a resumed run knows them again."""
    return {str(c): [task.name, list(task.stages)] for c, task in sorted(private.items())}


def not_evaluated(private: Mapping[int, PrivateTask], root: str) -> tuple[str, ...]:
    """Names of private tasks that the server has no test samples of."""
    names = dict.fromkeys(private[client].name for client in sorted(private))
    return tuple(name for name in names if not _has_test(root, name))


def check_stages_filled(
    config: RunConfig, stages: Sequence[Stage], private: Mapping[int, PrivateTask], clients: int
) -> None:
    """Refuse a run with a stage in which fewer clients learn than a round takes.

    Raises
    ------
    RunError
        If there is one; names it.
    """
    needed = config.clients_per_round
    for stage in with_private_tasks(stages, private, config.data.root):
        idle = sum(not stage.takes_part(client) for client in private)
        if clients - idle < needed:
            raise RunError(
                f"clients-per-round = {needed}, but in stage {stage.number} ({stage.name}) only "
                f"{clients - idle} of {clients} clients take part: the others' private tasks are "
                f"for other stages ({STAGES_KEY} in their --node-config). Start more SuperNodes, "
                "change their stages, or lower clients-per-round."
            )


def _with_private(stage: Stage, private: Mapping[int, PrivateTask], root: str) -> Stage:
    lessons = {
        client: (task.name,) if not task.stages or stage.number in task.stages else ()
        for client, task in sorted(private.items())
    }
    learnt = dict.fromkeys(name for lesson in lessons.values() for name in lesson)
    scored = [name for name in learnt if _has_test(root, name)]
    tasks = tuple(dict.fromkeys((*stage.tasks, *scored)))  # the scenario may name it, too
    return replace(stage, tasks=tasks, private=lessons)


def _has_test(root: str, name: str) -> bool:
    return bool(root) and private_test_file(Path(root), name).is_file()
