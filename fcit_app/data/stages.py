"""Who learns what when: the stages of a run, and each client's shard of a stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fcit_app.data.catalogue import tasks_of
from fcit_app.data.load import Benchmark, dealt_samples
from fcit_app.data.partition import Shard, dirichlet_shards, seed_of
from fcit_app.data.sample import Sample
from fcit_app.data.settings import DataSettings


@dataclass(frozen=True)
class Stage:
    """A period in which clients hold the data of one task or capability.

    Parameters
    ----------
    number : int
        Counts from 1.
    name : str
        The task, or the capability.
    tasks : tuple[str, ...]
        Tasks whose samples are pooled in this stage.
    """

    number: int
    name: str
    tasks: tuple[str, ...]


def make_stages(config: DataSettings) -> tuple[Stage, ...]:
    """Give the run's stages in order."""
    return tuple(
        Stage(number, name, tasks_of(name)) for number, name in enumerate(config.stages, start=1)
    )


def tasks_seen(stages: Sequence[Stage], until: int) -> tuple[str, ...]:
    """Tasks of the stages up to and including number ``until``, in the order they were met."""
    return tuple(dict.fromkeys(task for stage in stages[:until] for task in stage.tasks))


def deal(config: DataSettings, stage: Stage, samples: int, clients: int) -> tuple[Shard, ...]:
    """Deal a stage's pooled samples to the clients: one ascending index array each.

    Raises
    ------
    DataError
        If the samples cannot be dealt to so many clients.
    """
    seed = seed_of(config.seed, "partition", stage.name)
    return dirichlet_shards(samples, clients, config.beta, seed, config.data.min_samples)


def client_samples(
    benchmark: Benchmark, config: DataSettings, stage: Stage, client: int, clients: int
) -> tuple[Sample, ...]:
    """Give the training samples that one client holds in one stage.

    Parameters
    ----------
    benchmark : Benchmark
        Where the stage's samples come from.
    config : DataSettings
        Gives seed, beta and the smallest shard.
    stage : Stage
        Its tasks' samples are pooled before they are dealt.
    client, clients : int
        Which client of how many, counted from 0.

    Raises
    ------
    DataError
        If the samples cannot be dealt to so many clients.
    """
    dealt = dealt_samples(benchmark, stage.name, client, clients)
    if dealt is not None:
        return dealt
    pool = [sample for task in stage.tasks for sample in benchmark.training_samples(task)]
    return tuple(pool[index] for index in deal(config, stage, len(pool), clients)[client])
