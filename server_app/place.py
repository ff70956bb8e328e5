"""How far a run is: the steps of its stages in their order."""

from __future__ import annotations

from dataclasses import dataclass

ROUND, FINISHED, EVALUATED = "round", "finished", "evaluated"
"""Steps of a stage: its rounds; what a strategy asks at its end; the evaluation."""


@dataclass(frozen=True)
class Place:
    """The latest step that is done.

    Parameters
    ----------
    stage : int
        From 1; 0 before all.
    round : int
        The latest round of the stage that is done.
    step : str
        ``ROUND``, or a step after the last round.
    """

    stage: int = 0
    round: int = 0
    step: str = ROUND

    def covers(self, stage: int, step: int | str) -> bool:
        """Whether a step of a stage (a round's number, ``FINISHED``, ``EVALUATED``) is done."""
        if stage != self.stage:
            return stage < self.stage
        if isinstance(step, int):
            return step <= self.round
        return step == self.step or self.step == EVALUATED
