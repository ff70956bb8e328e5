"""Scenarios: who learns what when, stage by stage.

``hom``: all clients learn the stage's task. ``het``: different clients learn different tasks in one
stage, by the official tables; a task belongs to a slot, the position among a round's participants,
so that a client drawn twice in a stage may learn two tasks (FCIT, Het-FCIT; `seq_dyn_list` and
`cap_dyn_list` of the official code). Anything else comes from a scenario file, see
``scenario_file``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fcit_app.data.catalogue import Setting, stages
from fcit_app.data.lesson import Lesson, lesson_text, tasks_in

BUILT_IN: tuple[str, ...] = ("hom", "het")
FILE_SUFFIXES: tuple[str, ...] = (".toml", ".json")

# Row: stage; column: slot; entry: position in the published order of tasks or capabilities.
_OFFICIAL: Mapping[Setting, tuple[tuple[int, ...], ...]] = {
    "task": (
        (1, 2, 4, 5, 6),
        (3, 4, 5, 7, 7),
        (0, 2, 3, 4, 5),
        (0, 0, 1, 3, 7),
        (1, 2, 4, 4, 5),
        (0, 3, 5, 7, 7),
        (2, 2, 5, 7, 7),
        (5, 5, 5, 6, 6),
    ),
    "capability": (
        (0, 1, 1, 3, 3),
        (0, 2, 2, 2, 3),
        (1, 2, 2, 3, 3),
        (0, 0, 0, 1, 1),
    ),
}


@dataclass(frozen=True)
class Timetable:
    """Who learns what in one stage: by slot, by client, or all the same.

    Parameters
    ----------
    slots : tuple[Lesson, ...]
        Lesson of each slot, from 0; empty if lessons do not go by slots.
    clients : Mapping[int, Lesson]
        Lesson of some clients, from 0.
    others : Lesson
        Lesson of every other client; empty if there is none.
    label : str
        The stage's own name; by default it is made from the lessons.
    """

    slots: tuple[Lesson, ...] = ()
    clients: Mapping[int, Lesson] = field(default_factory=dict)
    others: Lesson = ()
    label: str = ""

    def lesson(self, slot: int, client: int) -> Lesson:
        """Lesson of the client that takes part in a slot."""
        return self.slots[slot] if self.slots else self.clients.get(client, self.others)

    @property
    def lessons(self) -> tuple[Lesson, ...]:
        """Different lessons, by ascending slot or client."""
        by_client = [self.clients[client] for client in sorted(self.clients)]
        every = (*self.slots, *by_client, self.others)
        return tuple(lesson for lesson in dict.fromkeys(every) if lesson)

    @property
    def whole(self) -> Lesson:
        """All that anybody learns, as one lesson."""
        return tuple(dict.fromkeys(name for lesson in self.lessons for name in lesson))

    @property
    def name(self) -> str:
        """Name of the stage: its label, or what is learnt, shortened to fit a line."""
        first, *more = self.whole
        return self.label or " + ".join(
            self.whole if len(more) < 2 else (first, f"{len(more)} more")
        )

    def facts(self) -> dict[str, object]:
        """Lessons as JSON: ``slots``, or ``clients`` and ``others``, or ``everyone``."""
        if self.slots:
            return {"slots": [lesson_text(lesson) for lesson in self.slots]}
        if not self.clients:
            return {"everyone": lesson_text(self.others)}
        named = {str(client): lesson_text(self.clients[client]) for client in sorted(self.clients)}
        return {"clients": named} | ({"others": lesson_text(self.others)} if self.others else {})


@dataclass(frozen=True)
class Scenario:
    """The timetables of all stages.

    Parameters
    ----------
    name : str
        ``hom``, ``het`` or the name of the file.
    stages : tuple[Timetable, ...]
        In order; at least one. Those that go by slots have equally many.
    """

    name: str
    stages: tuple[Timetable, ...]

    @property
    def slots(self) -> int:
        """How many slots a round has; 0 if lessons do not go by slots."""
        return max(len(stage.slots) for stage in self.stages)

    def new_tasks(self, number: int) -> tuple[str, ...]:
        """Tasks that stage ``number`` (from 1) is the first to teach."""
        before = tasks_in(name for stage in self.stages[: number - 1] for name in stage.whole)
        return tuple(t for t in tasks_in(self.stages[number - 1].whole) if t not in before)

    def returning_tasks(self, number: int) -> tuple[str, ...]:
        """Tasks of stage ``number`` (from 1) that an earlier one has taught."""
        new = self.new_tasks(number)
        return tuple(t for t in tasks_in(self.stages[number - 1].whole) if t not in new)


def hom(order: Sequence[str]) -> Scenario:
    """All clients learn the same: one task or capability a stage, in this order."""
    return Scenario("hom", tuple(Timetable(others=(name,)) for name in order))


def het(setting: Setting) -> Scenario:
    """Give the official slot tables: five slots, eight stages of tasks or four of capabilities.

    The tables' numbers are read as positions in the published order of the setting.
    """
    names = stages(setting)
    return Scenario(
        "het",
        tuple(Timetable(tuple((names[n],) for n in row)) for row in _OFFICIAL[setting]),
    )


def misfits(scenario: Scenario, participants: int | None, clients: int | None) -> list[str]:
    """Say where a scenario does not fit a federation.

    Parameters
    ----------
    scenario : Scenario
        The scenario.
    participants : int or None
        Participants of a round; None if not known.
    clients : int or None
        Clients of the federation; None if not known.

    Returns
    -------
    list[str]
        One sentence for each problem, with the configuration's key first.
    """
    problems = []
    if participants is not None and scenario.slots not in (0, participants):
        problems.append(
            f"clients-per-round: {participants} is not allowed; allowed with scenario "
            f"{scenario.name}: {scenario.slots}, one participant a slot. Set "
            f"clients-per-round={scenario.slots}"
            + (", or use preset mini-het." if scenario.name == "het" else ".")
        )
    if clients is None:
        return problems
    for number, stage in enumerate(scenario.stages, start=1):
        where = f"scenario: {scenario.name}, stage {number}"
        beyond = sorted(client for client in stage.clients if client >= clients)
        if beyond:
            problems.append(
                f"{where}: there is no client {_listed(beyond)}; the {clients} clients count from "
                f"0 to {clients - 1}. Correct the file, or add clients (`fcit run --clients "
                f"{beyond[-1] + 1}`)."
            )
        idle = [c for c in range(clients) if not stage.slots and not stage.lesson(0, c)]
        if idle:
            problems.append(
                f"{where}: nobody says what client {_listed(idle)} of {clients} learns. Name it "
                'under clients, or add others = "…".'
            )
    return problems


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:4])
    return f"{shown} and {len(numbers) - 4} more" if len(numbers) > 4 else shown
