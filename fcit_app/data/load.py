"""The samples that a configuration asks for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, Protocol

from fcit_app.data.folder.benchmark import FolderBenchmark
from fcit_app.data.folder.defects import Defect
from fcit_app.data.mini.benchmark import MiniBenchmark
from fcit_app.data.sample import Sample
from fcit_app.data.settings import DataSettings

Split = Literal["test", "validation"]
"""Samples that are asked: for the accuracy matrix, or for choosing settings."""


class Benchmark(Protocol):
    """Samples of every task, by split."""

    def training_samples(self, task: str) -> Sequence[Sample]:
        """Give all training samples of a task, before they are dealt to clients."""

    def validation_samples(self, task: str) -> Sequence[Sample]:
        """Give samples for choosing settings."""

    def test_samples(self, task: str) -> Sequence[Sample]:
        """Give the samples that the accuracy matrix is made from."""


def load_benchmark(config: DataSettings) -> Benchmark:
    """Give the mini benchmark of the configured size and seed, or the one in ``data.root``."""
    data = config.data
    if data.root:
        return FolderBenchmark(
            Path(data.root),
            config.seed,
            data.train_samples,
            data.test_samples,
            data.on_bad_sample,
            config.beta if data.partition == "files" else None,
        )
    return MiniBenchmark(config.seed, data.train_samples, data.test_samples)


def skipped_training(
    benchmark: Benchmark, names: Collection[str], client: int
) -> tuple[Defect, ...]:
    """Give the records that were left out of the training samples read by now.

    Parameters
    ----------
    benchmark : Benchmark
        That of the configuration.
    names : Collection[str]
        Tasks and capabilities that count.
    client : int
        Whose shards count, where the benchmark has them dealt already.
    """
    if isinstance(benchmark, FolderBenchmark):
        return benchmark.skipped_training(names, client)
    return ()


def skipped_test(benchmark: Benchmark) -> dict[str, tuple[Defect, ...]]:
    """Give the records that were left out of the test samples read by now, by task."""
    return benchmark.skipped_test() if isinstance(benchmark, FolderBenchmark) else {}


def dealt_samples(
    benchmark: Benchmark, name: str, client: int, clients: int
) -> tuple[Sample, ...] | None:
    """Give a client's shard of a task or capability, if the benchmark has it dealt already.

    Returns
    -------
    tuple[Sample, ...] or None
        None if the samples are still to be dealt, see ``fcit_app.data.stages``.
    """
    if isinstance(benchmark, FolderBenchmark):
        return benchmark.dealt_samples(name, client, clients)
    return None
