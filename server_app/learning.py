"""What the server knows of the model: the method's strategy, its global record, its scores."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from flwr.app import ArrayRecord

from fcit_app.arrays import Arrays
from fcit_app.config import RunConfig
from fcit_app.data.load import Benchmark
from fcit_app.data.partition import seed_of
from fcit_app.data.stages import Stage
from fcit_app.errors import RunError
from fcit_app.evaluate.evaluator import Evaluator, TaskScore
from fcit_app.evaluate.summary import summarise
from fcit_app.methods import load_method
from fcit_app.model.adapters import is_adapter, parameter_handles, read_parameters
from fcit_app.model.bank import Bank
from fcit_app.model.bank_hash import bank_hashes
from fcit_app.runs import RunAnalysis
from server_app.analysis import Analysis
from server_app.evaluation import SharedEvaluation
from server_app.journal import Journal
from strategies.methods import METHODS


class Learning:
    """The model's side of a federated run.

    Parameters
    ----------
    config : RunConfig
        The run's configuration.
    benchmark : Benchmark
        Gives the test samples.
    journal : Journal
        Where evaluations are reported.

    Attributes
    ----------
    strategy : Strategy
        The method's Flower strategy.
    initial : ArrayRecord
        The global record before the first round.
    evaluate_seconds : float
        Time spent evaluating so far.
    evaluator : Evaluator
        Answers here.
    shared : SharedEvaluation or None
        Takes over the scoring if it is set.
    """

    def __init__(self, config: RunConfig, benchmark: Benchmark, journal: Journal) -> None:
        self._config = config
        self._journal = journal
        self.evaluator = Evaluator(config, benchmark)
        self._method = METHODS[config.method]
        self._handles = parameter_handles(self.evaluator.model, projector=True)
        self.strategy = self._method.strategy(config, self._new_adapter)
        self.initial = self._method.initial(self._new_adapter, self._projector())
        self.evaluate_seconds = 0.0
        self.shared: SharedEvaluation | None = None
        self._accuracy: list[list[float]] = []
        self._zero_shot: list[float] | None = None
        self._analysis: Analysis | None = None

    def _new_adapter(self, identifier: int) -> Arrays:
        seed = seed_of(self._config.seed, "adapter", identifier)
        return load_method(self._config).initial(self._handles, seed)

    def _projector(self) -> Arrays | None:
        if self._config.projector == "frozen":
            return None
        handles = {n: handle for n, handle in self._handles.items() if not is_adapter(n)}
        return read_parameters(handles)

    def measure_zero_shot(self, tasks: Sequence[str], unseen: Sequence[str]) -> None:
        """Score the plain base on all tasks, before anything is trained.

        Parameters
        ----------
        tasks : Sequence[str]
            The run's.
        unseen : Sequence[str]
            Tasks that it never trains.
        """
        started = time.perf_counter()
        row = [found.accuracy for found in self._score(Bank(), 0, [*tasks, *unseen])]
        self._zero_shot = row[: len(tasks)]
        general = self.evaluator.general(Bank()) if self._config.evaluate.general else None
        self._analysis = Analysis(tasks, unseen, row, general)
        self.evaluate_seconds += time.perf_counter() - started

    def evaluate(
        self,
        arrays: ArrayRecord,
        stage: Stage,
        asked: Sequence[str],
        seen: int,
        trained: Mapping[int, Collection[str]],
        last: bool,
    ) -> RunAnalysis:
        """Score the global record: one more row of the matrix, and what else it shows.

        Parameters
        ----------
        arrays : ArrayRecord
            The global record.
        stage : Stage
            The stage that has ended.
        asked : Sequence[str]
            Tasks to score, those seen so far first.
        seen : int
            How many these are; they make the matrix's row.
        trained : Mapping[int, Collection[str]]
            Identifier of a subspace to the tasks it was trained on.
        last : bool
            Whether no stage follows.

        Raises
        ------
        RunError
            If the base has not been measured.
        """
        if self._analysis is None:
            raise RunError("evaluate was called before measure_zero_shot.")
        started = time.perf_counter()
        bank = self._method.bank(self._config, arrays)
        found = self._score(bank, stage.number, asked)
        row = [score.accuracy for score in found[:seen]]
        settings = self._config.evaluate
        skills = settings.general and (last or settings.general_after == "all")
        general = self.evaluator.general(bank) if skills else None
        seconds = time.perf_counter() - started
        self.evaluate_seconds += seconds
        self._accuracy.append(row)
        tasks = list(asked[:seen])
        facts = {"stage": stage.number, "tasks": tasks, "accuracy": row}
        self._journal.write("stage-evaluated", **facts, seconds=round(seconds, 3))
        # for `fcit audit`
        self._journal.write("bank-hashed", stage=stage.number, **bank_hashes(bank))
        identifiers = [subspace.identifier for subspace in bank.subspaces]
        self._analysis.add(found, seen, identifiers, trained, general)
        return self._analysis.result()

    def _score(self, bank: Bank, stage: int, tasks: Sequence[str]) -> list[TaskScore]:
        if self.shared is not None:
            return self.shared.scores(bank, stage, tasks)

        def done(task: str, number: int) -> None:
            self._journal.write(
                "evaluate-progress", stage=stage, task=task, done=number, total=len(tasks)
            )

        return self.evaluator.scores(bank, tasks, done)

    def scores(self) -> dict[str, Any]:
        """Give the accuracy matrix with its summaries, as ``make_result`` takes them."""
        return {"zero_shot": self._zero_shot, **summarise(self._accuracy)}

    def facts(self, arrays: ArrayRecord) -> tuple[Arrays, dict[str, Any]]:
        """Give the bank's arrays, and what to know of them: its facts and the scores so far."""
        bank, facts = self._method.bank(self._config, arrays).to_arrays()
        return bank, {"bank": facts, "accuracy": self._accuracy, "zero_shot": self._zero_shot}

    def state_dict(self) -> dict[str, Any]:
        """Give the scores so far, and what they took."""
        return {
            "accuracy": self._accuracy,
            "zero-shot": self._zero_shot,
            "analysis": self._analysis.result().model_dump() if self._analysis else None,
            "evaluate-seconds": self.evaluate_seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo ``state_dict``: go on with another run's scores."""
        self._accuracy = state["accuracy"]
        self._zero_shot = state["zero-shot"]
        self._analysis = Analysis.restored(RunAnalysis.check(state["analysis"]))
        self.evaluate_seconds = state["evaluate-seconds"]

    def subspaces(
        self, arrays: ArrayRecord, samples: Mapping[int, Mapping[str, Mapping[Any, int]]]
    ) -> list[dict[str, Any]]:
        """Say where each subspace came from: samples by task, and the stage that opened it."""
        found = []
        for subspace in self._method.bank(self._config, arrays).subspaces:
            by_task = samples.get(subspace.identifier, {})
            counts = {task: sum(parts.values()) for task, parts in by_task.items()}
            found.append(
                {
                    "id": subspace.identifier,
                    "task_counts": counts,
                    "samples": sum(counts.values()),
                    "first_stage": subspace.first_stage,
                }
            )
        return found
