"""The samples that a configuration asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fcit_app.data.mini.benchmark import MiniBenchmark
from fcit_app.data.sample import Sample
from fcit_app.data.settings import DataSettings


class Benchmark(Protocol):
    """Samples of every task, by split."""

    def training_samples(self, task: str) -> Sequence[Sample]:
        """Give all training samples of a task, before they are dealt to clients."""

    def validation_samples(self, task: str) -> Sequence[Sample]:
        """Give samples for choosing settings."""

    def test_samples(self, task: str) -> Sequence[Sample]:
        """Give the samples that the accuracy matrix is made from."""


def load_benchmark(config: DataSettings) -> Benchmark:
    """Give the mini benchmark of the configured size and seed."""
    data = config.data
    return MiniBenchmark(config.seed, data.train_samples, data.test_samples)
