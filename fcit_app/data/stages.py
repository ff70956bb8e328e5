"""The stages of a run, and each client's shard of what it learns in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fcit_app.data.catalogue import tasks_of
from fcit_app.data.lesson import Lesson, tasks_in
from fcit_app.data.load import Benchmark, dealt_samples
from fcit_app.data.partition import Shard, dirichlet_shards, seed_of
from fcit_app.data.sample import Sample
from fcit_app.data.scenario import Timetable
from fcit_app.data.scenario_file import load_scenario
from fcit_app.data.settings import DataSettings


@dataclass(frozen=True)
class Stage:
    """A period in which every client holds the data of what it learns in it.

    Parameters
    ----------
    number : int
        Counts from 1.
    name : str
        The task or capability; with several of them, a label.
    tasks : tuple[str, ...]
        Tasks that anybody learns in this stage.
    timetable : Timetable
        Who learns what.
    private : Mapping[int, Lesson]
        Client with a task of its own to what it learns instead; empty: it takes no part.
    """

    number: int
    name: str
    tasks: tuple[str, ...]
    timetable: Timetable
    private: Mapping[int, Lesson] = field(default_factory=dict)

    def lesson(self, slot: int, client: int) -> Lesson:
        """Lesson of the client that takes part in a slot."""
        return self.private.get(client) or self.timetable.lesson(slot, client)

    def takes_part(self, client: int) -> bool:
        """Whether a client has anything to learn in this stage."""
        return client not in self.private or bool(self.private[client])


def make_stages(config: DataSettings) -> tuple[Stage, ...]:
    """Give the run's stages in order.

    Raises
    ------
    ConfigError
        If the scenario is a file that is missing or wrong.
    """
    scenario = load_scenario(config.scenario, config.setting, config.stages)
    return tuple(
        Stage(number, timetable.name, tasks_in(timetable.whole), timetable)
        for number, timetable in enumerate(scenario.stages, start=1)
    )


def tasks_seen(stages: Sequence[Stage], until: int) -> tuple[str, ...]:
    """Tasks of the stages up to and including number ``until``, in the order they were met."""
    return tuple(dict.fromkeys(task for stage in stages[:until] for task in stage.tasks))


def deal(config: DataSettings, name: str, samples: int, clients: int) -> tuple[Shard, ...]:
    """Deal the pooled samples of a task or capability: one ascending index array a client.

    The shards go by the name alone: a task that returns brings each client the samples it had.

    Raises
    ------
    DataError
        If the samples cannot be dealt to so many clients.
    """
    seed = seed_of(config.seed, "partition", name)
    return dirichlet_shards(samples, clients, config.beta, seed, config.data.min_samples)


def client_samples(
    benchmark: Benchmark, config: DataSettings, stage: Stage, client: int, clients: int
) -> tuple[Sample, ...]:
    """Give the training samples that one client holds of a whole stage, whatever its lesson.

    See ``lesson_samples``.
    """
    return lesson_samples(benchmark, config, stage.timetable.whole, client, clients)


def lesson_samples(
    benchmark: Benchmark, config: DataSettings, lesson: Lesson, client: int, clients: int
) -> tuple[Sample, ...]:
    """Give the training samples that one client holds of some tasks or capabilities.

    Parameters
    ----------
    benchmark : Benchmark
        Where the samples come from.
    config : DataSettings
        Gives seed, beta and the smallest shard.
    lesson : Lesson
        Each of its tasks or capabilities is dealt to all clients by itself; the tasks of a
        capability are pooled before.
    client, clients : int
        Which client of how many, counted from 0.

    Raises
    ------
    DataError
        If the samples cannot be dealt to so many clients.
    """
    held: list[Sample] = []
    for name in lesson:
        dealt = dealt_samples(benchmark, name, client, clients)
        if dealt is not None:
            held += dealt
            continue
        pool = [sample for task in tasks_of(name) for sample in benchmark.training_samples(task)]
        held += [pool[index] for index in deal(config, name, len(pool), clients)[client]]
    return tuple(held)
