"""Score a saved bank without a federation, question by question, so that nothing is lost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from fcit_app import __version__
from fcit_app.config import flatten
from fcit_app.data.catalogue import TASK_NAMES
from fcit_app.data.load import Benchmark, Split, load_benchmark
from fcit_app.data.sample import Sample
from fcit_app.evaluate.activation_summary import summarise_weights
from fcit_app.evaluate.captions import require_scorers
from fcit_app.evaluate.evaluator import TaskScore, task_score
from fcit_app.evaluate.matrix import last
from fcit_app.evaluate.predictions import Prediction, PredictionFile
from fcit_app.evaluate.predictor import Batch, samples_of
from fcit_app.evaluate.predictors import predictors
from fcit_app.evaluate.saved_run import SavedRun
from fcit_app.evaluate.scoring import Scoring
from fcit_app.evaluate.statistics import measure
from fcit_app.model.activation import Activation
from fcit_app.runs import locked, writing
from fcit_app.runs.atomic import write_json

Told = Callable[[int, int], None]
"""Takes how many questions are answered, and how many there are."""


@dataclass(frozen=True)
class BankScores:
    """How a bank did with one activation, by one scoring.

    Parameters
    ----------
    activation : Activation or None
        None for a bank that is not routed.
    scoring : {"paper", "official"}
        How the answers were judged.
    folder : Path
        Where ``setting.json``, ``predictions.jsonl`` and ``scores-<scoring>.json`` are.
    scores : tuple[TaskScore, ...]
        In the order in which the tasks were asked for.
    questions : tuple[int, ...]
        How many of each task.
    """

    activation: Activation | None
    scoring: Scoring
    folder: Path
    scores: tuple[TaskScore, ...]
    questions: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy over the tasks in percent: Last, for those that the run has learned."""
        return last([[found.accuracy for found in self.scores]])

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "activation": self.activation,
            "scoring": self.scoring,
            "mean": self.mean,
            "tasks": [
                {**asdict(found), "questions": count}
                for found, count in zip(self.scores, self.questions, strict=True)
            ],
            "predictions": str(self.folder / "predictions.jsonl"),
        }


class _Sheet:
    """The predictions of one activation: those on disk that still hold, and those to come.

    Its folder is locked as long as ``held`` is open.
    """

    def __init__(
        self, run: SavedRun, split: Split, activation: Activation, out: Path, held: ExitStack
    ) -> None:
        self.activation = activation
        self._setting = _setting(run, split, activation)
        text = json.dumps(self._setting, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        name = f"{split}-{activation}-{digest}" if run.routed else f"{split}-{digest}"
        self.folder = out / name
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        held.enter_context(locked(self.folder, "evaluated"))
        self._file = PredictionFile(self.folder / "predictions.jsonl")
        self._found = {(entry.task, entry.identifier): entry for entry in self._file.read()}

    def of(self, samples: Iterable[Sample]) -> list[Prediction]:
        """Predictions of these very samples, as far as there are any."""
        pairs = ((self._found.get((sample.task, sample.identifier)), sample) for sample in samples)
        return [
            found
            for found, sample in pairs
            if found and _asked(found) == (sample.question, sample.answer, *sample.references)
        ]

    def begin(self) -> None:
        """Make ready to add, so that what cannot be written is known before anything is asked."""
        with writing(self.folder):
            write_json(self.folder / "setting.json", self._setting)
        # Without what was torn: a line would go on where another one broke off.
        self._file.replace(self._found.values())

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Take in a batch, and keep it."""
        self._file.append(predictions)
        self._found |= {(entry.task, entry.identifier): entry for entry in predictions}

    def finish(
        self, samples: Mapping[str, Sequence[Sample]], scorings: Sequence[Scoring]
    ) -> list[BankScores]:
        """Put all lines in the samples' order, and score them by each scoring."""
        of_task = {task: self.of(asked) for task, asked in samples.items()}
        rest = [entry for entry in self._found.values() if entry.task not in samples]
        lines = [entry for entries in of_task.values() for entry in entries] + rest
        self._file.replace(sorted(lines, key=lambda entry: _place(entry.task)))
        routed = any(entry.weights is not None for entry in lines)
        found = []
        for scoring in scorings:
            scores = BankScores(
                self.activation if routed else None,
                scoring,
                self.folder,
                tuple(_score(samples[task], said, scoring) for task, said in of_task.items()),
                tuple(map(len, of_task.values())),
            )
            with writing(self.folder):
                write_json(self.folder / f"scores-{scoring}.json", scores.as_dict())
            found.append(scores)
        return found


def _place(task: str) -> tuple[int, str]:
    """Order of tasks: the catalogue's, then private ones by name."""
    return (TASK_NAMES.index(task), "") if task in TASK_NAMES else (len(TASK_NAMES), task)


def evaluate_saved(
    run: SavedRun,
    tasks: Sequence[str],
    split: Split,
    activations: Sequence[Activation],
    out: Path,
    processes: int = 1,
    told: Told = lambda done, total: None,
    scorings: Sequence[Scoring] = (),
) -> list[BankScores]:
    """Answer and score what is not answered yet.

    Whatever decides an answer (bank, settings, split, activation, version) names the folder of its
    predictions, so nothing is ever mixed: another setting begins anew beside the others. There a
    batch counts once all of it is on disk and its questions are still those of the data; batches
    and answers are those of the run's own evaluation, whatever was answered before a stop. How
    answers are scored decides none: another scoring is computed from the same predictions.

    Parameters
    ----------
    run : SavedRun
        Bank and settings.
    tasks : Sequence[str]
        Names, each once.
    split : {"test", "validation"}
        Which samples.
    activations : Sequence[Activation]
        Each gives a column of the table; the configuration's alone if the bank is not routed.
    out : Path
        Where the folders of predictions are made, once there is something to write.
    processes : int
        Processes that answer; it makes no difference to the result.
    told : Told
        Hears of the progress.
    scorings : Sequence[Scoring]
        How answers are judged; the configuration's alone if there is none.

    Returns
    -------
    list[BankScores]
        One an activation and scoring; those of an activation stand together.

    Raises
    ------
    FcitError
        If model or data cannot be used, predictions are damaged, nothing can be written, or
        another process is evaluating the same.
    """
    benchmark = load_benchmark(run.config)
    samples = {task: samples_of(benchmark, split, task) for task in tasks}
    scorings = scorings or (run.config.evaluate.scoring,)
    if any(sample.references for asked in samples.values() for sample in asked):
        require_scorers()
    with ExitStack() as held:
        sheets = {
            activation: _Sheet(run, split, activation, out, held)
            for activation in dict.fromkeys(activations)
        }
        _answer(run, benchmark, split, processes, sheets, samples, told)
        return [scores for sheet in sheets.values() for scores in sheet.finish(samples, scorings)]


def _answer(
    run: SavedRun,
    benchmark: Benchmark,
    split: Split,
    processes: int,
    sheets: Mapping[Activation, _Sheet],
    samples: Mapping[str, Sequence[Sample]],
    told: Told,
) -> None:
    """Fill the sheets with what they lack."""
    total = len(sheets) * sum(map(len, samples.values()))
    # Tasks that are answered in full need no model, not even to be cut into batches.
    open_tasks = [
        task
        for task, asked in samples.items()
        if any(len(sheet.of(asked)) < len(asked) for sheet in sheets.values())
    ]
    if open_tasks:
        with predictors(run, benchmark, split, processes) as crew:
            wanted = []
            for task, batches in zip(open_tasks, crew.plan(open_tasks), strict=True):
                asked = samples[task]
                wanted += [
                    Batch(task, sheet.activation, places)
                    for places in batches
                    for sheet in sheets.values()
                    if len(sheet.of(asked[place] for place in places)) < len(places)
                ]
            for activation in {batch.activation for batch in wanted}:
                sheets[activation].begin()
            done = total - sum(len(batch.places) for batch in wanted)
            told(done, total)
            for batch, predictions in crew.predict(wanted):
                sheets[batch.activation].add(predictions)
                done += len(predictions)
                told(done, total)


def _setting(run: SavedRun, split: Split, activation: Activation) -> dict[str, Any]:
    """All that decides an answer, and what a reader wants to know beside it."""
    config = flatten(run.config) | {"activation": activation}
    decide_nothing = ("out", "data.feature-cache", "data.workers")
    for key in (*decide_nothing, "evaluate.scoring", "evaluate.where", "evaluate.predictions"):
        del config[key]
    return {
        "version": __version__,
        "split": split,
        "stage": run.stage,
        "round": run.round,
        "bank": run.digest,
        "config": config,
    }


def _asked(entry: Prediction) -> tuple[str, ...]:
    """All that a prediction knows of its sample."""
    return (entry.question, entry.reference, *entry.references)


def _score(
    samples: Sequence[Sample], predictions: Sequence[Prediction], scoring: Scoring
) -> TaskScore:
    rows = [list(entry.weights.values()) for entry in predictions if entry.weights is not None]
    activation = summarise_weights(torch.tensor(rows, dtype=torch.float32)) if rows else None
    statistics = measure(samples, [entry.answer for entry in predictions], scoring)
    return task_score(samples[0].task, statistics, activation)
