"""The plan of a round: who takes part, and what each participant learns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fcit_app.config import RunConfig
from fcit_app.data.lesson import Lesson, lesson_text, tasks_in, write_lessons
from fcit_app.data.stages import Stage
from server_app.sampling import draw_slots, official_slots


@dataclass(frozen=True)
class RoundPlan:
    """Participants of a round and their lessons.

    Parameters
    ----------
    participants : tuple[int, ...]
        By slot; ascending where slots mean nothing.
    tasks : Mapping[int, tuple[str, ...]]
        Participant to the tasks that it learns.
    lessons : Mapping[int, Lesson]
        Participant to its lesson; empty if all learn the whole stage and need not be told.
    """

    participants: tuple[int, ...]
    tasks: Mapping[int, tuple[str, ...]]
    lessons: Mapping[int, Lesson]

    def most_examples(self, each: int) -> int:
        """More training samples than this no participant can have, of ``each`` a task."""
        return each * max(len(tasks) for tasks in self.tasks.values())

    @property
    def settings(self) -> dict[str, list[int] | list[str]]:
        """What the round's configuration tells the participants of their lessons."""
        return write_lessons(self.lessons) if self.lessons else {}

    @property
    def facts(self) -> dict[str, list[int] | list[str]]:
        """What the ledger is told of the round."""
        return {"participants": list(self.participants), **self.settings}

    def note(self, client: int) -> dict[str, str]:
        """Say what the ledger is told of a participant's lesson."""
        return {"lesson": lesson_text(self.lessons[client])} if client in self.lessons else {}


def plan_round(
    config: RunConfig, clients: Collection[int], stage: Stage, number: int, attempt: int = 0
) -> RoundPlan:
    """Draw a round's participants and look up what they learn.

    A function of its arguments alone.

    Parameters
    ----------
    config : RunConfig
        Gives scenario, draw, seed and the number of participants.
    clients : Collection[int]
        Stable ids of the clients at hand; those that take part in the stage are drawn from, all of
        them if they are fewer than wanted.
    stage : Stage
        The stage.
    number : int
        Round within the stage, from 1.
    attempt : int
        How often the round has been tried already; each time others are drawn, by the run's seed.
    """
    present = [client for client in clients if stage.takes_part(client)]
    count = min(config.clients_per_round, len(present))
    if config.client_draw == "official" and not attempt:
        drawn = official_slots(present, count, stage.number, number)
    else:
        drawn = draw_slots(present, count, config.seed, stage.number, number, attempt)
    if config.scenario == "hom":
        drawn = tuple(sorted(drawn))
    if config.scenario == "hom" and not stage.private:
        return RoundPlan(drawn, dict.fromkeys(drawn, stage.tasks), {})
    # Told even if all learn the same: a client has no need of the scenario's file then.
    lessons = {client: stage.lesson(slot, client) for slot, client in enumerate(drawn)}
    return RoundPlan(drawn, {c: tasks_in(lesson) for c, lesson in lessons.items()}, lessons)
