"""What adds up over a run: seconds per phase, bytes, and who trained which subspace on what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PHASES = ("configure", "train", "wait", "guard", "aggregate", "save")
"""Parts of a round that follow each other; together they are the round.

``train`` is the slowest client's own time, ``wait`` the rest of the time between sending and the
last reply (transport, queueing, starting processes).
"""


@dataclass
class Totals:
    """Sums over the rounds of a run.

    Attributes
    ----------
    seconds : dict[str, float]
        By phase.
    up, down : int
        Bytes of arrays from the clients, tokens among them, and to them.
    samples : dict[int, dict[str, dict[tuple[int, int], int]]]
        Subspace to task to stage and client to the client's number of samples.
    strikes : dict[tuple[int, int], int]
        Stage and client to the number of the client's replies that were refused in it.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    up: int = 0
    down: int = 0
    samples: dict[int, dict[str, dict[tuple[int, int], int]]] = field(default_factory=dict)
    strikes: dict[tuple[int, int], int] = field(default_factory=dict)

    def add_seconds(self, seconds: Mapping[str, float]) -> None:
        """Add one round's seconds."""
        for phase in PHASES:
            self.seconds[phase] += seconds[phase]

    def add_samples(
        self, stage: int, subspace: int, client: int, examples: Mapping[str, int]
    ) -> None:
        """Note on which tasks a client trained a subspace in a stage; again changes nothing."""
        by_task = self.samples.setdefault(subspace, {})
        for task, count in examples.items():
            by_task.setdefault(task, {})[stage, client] = count

    def add_strike(self, stage: int, client: int) -> int:
        """Note that a client's reply was refused; how many of the stage that makes."""
        self.strikes[stage, client] = self.strikes.get((stage, client), 0) + 1
        return self.strikes[stage, client]

    def benched(self, stage: int, most: int) -> set[int]:
        """Clients with ``most`` strikes or more in a stage; nobody if that is 0."""
        return {c for (s, c), count in self.strikes.items() if s == stage and count >= most > 0}

    def tasks_of_subspaces(self) -> dict[int, set[str]]:
        """Map the identifier of each subspace to the tasks on whose samples it was trained."""
        return {
            subspace: {task for task, counts in by_task.items() if sum(counts.values()) > 0}
            for subspace, by_task in self.samples.items()
        }

    def overhead(self) -> str:
        """Share of the rounds' time in which no client trained, in all and by phase."""
        total = sum(self.seconds.values())
        percent = {p: 100 * self.seconds[p] / total if total else 0.0 for p in PHASES}
        training = percent.pop("train")
        parts = ", ".join(f"{phase} {share:.1f} %" for phase, share in percent.items())
        outside = 100 - training if total else 0.0
        return f"outside client training: {outside:.1f} % of the rounds' time ({parts})"
