"""One bank, installed once, that answers any batch of a task's questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from torch import Tensor

from fcit_app.config import RunConfig
from fcit_app.data.load import Benchmark, Split
from fcit_app.data.sample import Sample
from fcit_app.evaluate.answer import answer, batches
from fcit_app.evaluate.evaluator import Evaluator
from fcit_app.evaluate.predictions import Prediction
from fcit_app.evaluate.statistics import judge
from fcit_app.model.activation import Activation
from fcit_app.model.bank import Bank


@dataclass(frozen=True)
class Batch:
    """Questions of one task that are answered together.

    Parameters
    ----------
    task : str
        Name.
    activation : Activation
        How the bank is activated for them.
    places : tuple[int, ...]
        Of the samples in the task's split.
    """

    task: str
    activation: Activation
    places: tuple[int, ...]


def samples_of(benchmark: Benchmark, split: Split, task: str) -> Sequence[Sample]:
    """Give a task's samples of a split."""
    if split == "validation":
        return benchmark.validation_samples(task)
    return benchmark.test_samples(task)


class Predictor:
    """Answers batches; a context, inside which the bank is installed in the base.

    The batches are those of a run's own evaluation, so the answers are the same to the bit, in
    whatever order and by however many predictors they are answered.

    Parameters
    ----------
    config : RunConfig
        Gives base model, encoder, temperature, routing and batch size.
    benchmark : Benchmark
        Gives the samples.
    bank : Bank
        What answers.
    split : {"test", "validation"}
        Which samples.
    evaluator : Evaluator, optional
        One of the same configuration and benchmark, whose vision features are then used again.
    """

    def __init__(
        self,
        config: RunConfig,
        benchmark: Benchmark,
        bank: Bank,
        split: Split = "test",
        evaluator: Evaluator | None = None,
    ) -> None:
        self._config = config
        self._benchmark = benchmark
        self._split: Split = split
        self._evaluator = evaluator or Evaluator(config, benchmark)
        self._session = self._evaluator.session(bank)
        self._exit = ExitStack()
        self._routed = ""
        self._weights: dict[Activation, Tensor] = {}

    def __enter__(self) -> Self:
        """Install the bank."""
        self._exit.enter_context(self._session)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bank off again."""
        self._exit.__exit__(kind, error, trace)

    def plan(self, task: str) -> list[tuple[int, ...]]:
        """Places of a task's samples, batch by batch."""
        size = self._config.evaluate.batch_size
        samples = samples_of(self._benchmark, self._split, task)
        return [tuple(places) for places in batches(self._session, samples, size)]

    def predict(self, batch: Batch) -> list[Prediction]:
        """Answer one batch of ``plan``; in the order of its places."""
        every = samples_of(self._benchmark, self._split, batch.task)
        weights = self._weights_of(batch.task, batch.activation, every)[list(batch.places)]
        samples = [every[place] for place in batch.places]
        said = answer(self._session, samples, self._evaluator.vision, weights, len(samples))
        return [
            predicted(sample, text, self.named(row))
            for sample, text, row in zip(samples, said, weights, strict=True)
        ]

    def named(self, weights: Tensor) -> dict[str, float] | None:
        """Weights of one question, shape (subspaces,), by identifier; None if it is not routed."""
        if self._session.tokens is None:
            return None
        subspaces = self._session.bank.subspaces
        return {
            str(subspace.identifier): float(str(np.float32(weight)))
            for subspace, weight in zip(subspaces, weights.tolist(), strict=True)
        }

    def _weights_of(self, task: str, activation: Activation, samples: Sequence[Sample]) -> Tensor:
        """Weights of the whole task, kept until another task is asked."""
        if task != self._routed:
            self._routed, self._weights = task, {}
        if activation not in self._weights:
            self._weights[activation] = self._evaluator.weights(self._session, samples, activation)
        return self._weights[activation]


def predicted(sample: Sample, text: str, weights: Mapping[str, float] | None) -> Prediction:
    """Make a prediction of what was said to a sample, see ``Prediction``."""
    return Prediction(
        sample.identifier,
        sample.task,
        sample.question,
        text,
        sample.answer,
        judge(sample, text),
        weights,
        list(sample.references),
    )
