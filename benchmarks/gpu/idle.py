"""The time of a run's rounds in which no client trains, from its ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Round:
    """A finished round.

    Attributes
    ----------
    stage, number : int
        Which it is.
    seconds : Mapping[str, float]
        Phase of the loop to its seconds (`server_app/totals.py`).
    idle : float
        Seconds in which no client trains: what Flower and our loop cost. The round less the union
        of the clients' own training times, each ended by its reply.
    """

    stage: int
    number: int
    seconds: Mapping[str, float]
    idle: float

    @property
    def whole(self) -> float:
        """Seconds of the round."""
        return sum(self.seconds.values())


def finished_rounds(events: Iterable[Mapping[str, Any]]) -> list[Round]:
    """Read the rounds of a ledger's events, in their order."""
    found: list[Round] = []
    replies: list[tuple[float, float]] = []
    for event in events:
        if event["event"] == "client-replied":
            replies.append((event["time"] - event["seconds"], event["time"]))
        if event["event"] == "round-finished":
            seconds: dict[str, float] = event["seconds"]
            idle = max(0.0, sum(seconds.values()) - _covered(replies))
            found.append(Round(event["stage"], event["round"], seconds, idle))
            replies = []
    return found


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
