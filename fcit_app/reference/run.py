"""Run a reference method in this process and leave the same folder as a federated run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from fcit_app.config import RunConfig
from fcit_app.data.load import Benchmark, load_benchmark
from fcit_app.data.stages import make_stages, tasks_seen
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


class Write(Protocol):
    """Records one event of the run."""

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Record it."""


def run_reference(config: RunConfig, folder: RunFolder, write: Write | None = None) -> None:
    """Run ``zero-shot``, ``blind`` or ``centralized`` and write its result.

    Parameters
    ----------
    config : RunConfig
        Its method is one of ``REFERENCES``.
    folder : RunFolder
        Where events and the result go.
    write : Write, optional
        Takes the events; the folder's ledger by default.
    """
    write = write or folder.ledger.record
    started = time.perf_counter()
    stages = make_stages(config)
    tasks = tasks_seen(stages, len(stages))
    write("run-started", method=config.method, stages=[config.method], rounds=0, clients=None)

    def done(task: str, number: int) -> None:
        write("evaluate-progress", stage=1, task=task, done=number, total=len(tasks))

    row = REFERENCES[config.method](config, load_benchmark(config), tasks, done)
    seconds = time.perf_counter() - started
    mean = sum(row) / len(row)
    result = make_result(
        config,
        tasks=tasks,
        accuracy=[row],
        last=mean,
        zero_shot=row if config.method == "zero-shot" else None,
        seconds={"total": seconds},
    )
    folder.write_result(result)
    write("run-finished", last=mean, avg=None, seconds=seconds, bytes=None)
