"""Who answers: one predictor in this process, or one in each of several worker processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from fcit_app.config import RunConfig
from fcit_app.data.load import Benchmark, Split, load_benchmark
from fcit_app.errors import FcitError, RunFolderError
from fcit_app.evaluate.predictions import Prediction
from fcit_app.evaluate.predictor import Batch, Predictor
from fcit_app.evaluate.saved_run import SavedRun, open_saved_run
from fcit_app.model.precision import gpu_environments
from fcit_app.workers import worker_pool

Places = tuple[int, ...]


class Predictors(Protocol):
    """Predictors of one bank and split."""

    def plan(self, tasks: Sequence[str]) -> Iterable[list[Places]]:
        """Batches of each task, in the order of the tasks."""
        ...

    def predict(self, wanted: Sequence[Batch]) -> Iterable[tuple[Batch, list[Prediction]]]:
        """Batches with their predictions, as soon as each is done."""
        ...


@contextmanager
def predictors(
    run: SavedRun, benchmark: Benchmark, split: Split, processes: int
) -> Iterator[Predictors]:
    """Make ready to answer; loads the base model.

    Parameters
    ----------
    run : SavedRun
        Gives bank and settings.
    benchmark : Benchmark
        The run's.
    split : {"test", "validation"}
        Which samples are asked.
    processes : int
        With more than 1 as many worker processes; each holds the base and the bank. A batch is
        their unit of work, so the number makes no difference to any answer. Where this process sees
        several GPUs, each worker takes the next one in turn.
    """
    if processes == 1:
        with Predictor(run.config, benchmark, run.bank, split) as predictor:
            yield _Here(predictor)
        return
    with worker_pool(processes, gpu_environments(run.config.model.device)) as pool:
        text = run.config.model_dump_json(by_alias=True)
        yield _Workers(pool, _Order(run.path, text, run.digest, split))


class _Here:
    """One predictor, in this process."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def plan(self, tasks: Sequence[str]) -> Iterable[list[Places]]:
        return map(self._predictor.plan, tasks)

    def predict(self, wanted: Sequence[Batch]) -> Iterable[tuple[Batch, list[Prediction]]]:
        return ((batch, self._predictor.predict(batch)) for batch in wanted)


@dataclass(frozen=True)
class _Order:
    """All that a worker needs to make the same predictor."""

    path: Path
    config: str
    digest: str
    split: Split


class _Workers:
    """Predictors in the processes of a pool."""

    def __init__(self, pool: Executor, order: _Order) -> None:
        self._pool = pool
        self._order = order

    def plan(self, tasks: Sequence[str]) -> Iterable[list[Places]]:
        return self._pool.map(_plan, [self._order] * len(tasks), tasks)

    def predict(self, wanted: Sequence[Batch]) -> Iterable[tuple[Batch, list[Prediction]]]:
        waiting = {self._pool.submit(_predict, self._order, batch): batch for batch in wanted}
        return ((waiting[future], future.result()) for future in as_completed(waiting))


def _plan(order: _Order, task: str) -> list[Places]:
    with told():
        return _predictor(order).plan(task)


def _predict(order: _Order, batch: Batch) -> list[Prediction]:
    with told():
        return _predictor(order).predict(batch)


@lru_cache(maxsize=1)
def _predictor(order: _Order) -> Predictor:
    """Give this worker's predictor; it stays entered until the worker ends."""
    run = open_saved_run(order.path)
    if run.digest != order.digest:
        raise RunFolderError(
            f"The bank in {order.path} has changed meanwhile: its run goes on. Start again."
        )
    config = RunConfig.model_validate_json(order.config)
    return Predictor(config, load_benchmark(config), run.bank, order.split).__enter__()


@contextmanager
def told() -> Iterator[None]:
    """Hand errors over as their text: not each of them can be pickled."""
    try:
        yield
    except FcitError as error:
        raise FcitError(str(error)) from None
