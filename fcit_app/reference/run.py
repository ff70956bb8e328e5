"""Run a reference method in this process and leave the same folder as a federated run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fcit_app.config import RunConfig
from fcit_app.data.folder.defects import summary
from fcit_app.data.load import Benchmark, load_benchmark, skipped_test, skipped_training
from fcit_app.data.stages import make_stages, tasks_seen
from fcit_app.errors import reason_of
from fcit_app.evaluate.statistics import name_metrics
from fcit_app.reference.blind import blind
from fcit_app.reference.centralized import centralized
from fcit_app.reference.progress import TaskDone
from fcit_app.reference.zero_shot import zero_shot
from fcit_app.runs import RunFolder, make_result

Reference = Callable[[RunConfig, Benchmark, Sequence[str], TaskDone], list[float]]

REFERENCES: Mapping[str, Reference] = MappingProxyType(
    {"zero-shot": zero_shot, "blind": blind, "centralized": centralized}
)
"""Name in the configuration to function; each gives one accuracy a task."""


Write = Callable[..., None]
"""Records one event: its name, then its fields as keywords."""


def run_reference(
    config: RunConfig, folder: RunFolder, write: Write | None = None
) -> dict[str, Any]:
    """Run ``zero-shot``, ``blind`` or ``centralized`` and write its result.

    Parameters
    ----------
    config : RunConfig
        Its method is one of ``REFERENCES``.
    folder : RunFolder
        Where events and result go.
    write : Write, optional
        Takes the events; the folder's ledger by default.

    Returns
    -------
    dict
        The result, as in ``result.json``.

    Raises
    ------
    FcitError
        If the model or the data cannot be used; the ledger tells it too.
    """
    record = write or folder.ledger.record
    try:
        return _run(config, folder, record)
    except Exception as error:
        record("run-failed", reason=reason_of(error))
        raise


def _run(config: RunConfig, folder: RunFolder, record: Write) -> dict[str, Any]:
    started = time.perf_counter()
    stages = make_stages(config)
    tasks = tasks_seen(stages, len(stages))
    # One stage, named after the method: what follows is evaluated once, task by task.
    record("run-started", method=config.method, stages=[config.method], rounds=0, clients=None)

    def done(task: str, number: int) -> None:
        record("evaluate-progress", stage=1, task=task, done=number, total=len(tasks))

    benchmark = load_benchmark(config)
    metrics = name_metrics(benchmark, tasks, config.evaluate.scoring)
    row = REFERENCES[config.method](config, benchmark, tasks, done)
    seconds = time.perf_counter() - started
    for found in (*skipped_test(benchmark).values(), skipped_training(benchmark, tasks, 0)):
        if found:
            record("samples-skipped", client=None, records=len(found), text=summary(found))
    facts = {"stage": 1, "tasks": list(tasks), "accuracy": row}
    record("stage-evaluated", **facts, seconds=round(seconds, 3))
    result = make_result(
        config,
        tasks=tasks,
        accuracy=[row],
        last=sum(row) / len(row),
        zero_shot=row if config.method == "zero-shot" else None,
        seconds={"total": seconds},
        metrics=metrics,
    )
    folder.write_result(result)
    finished = ("last", "avg", "seconds", "bytes")
    record("run-finished", **{key: result[key] for key in finished})
    return result
