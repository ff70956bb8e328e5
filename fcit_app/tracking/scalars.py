"""Numbers to draw, from the events of a ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scalar:
    """One point of a curve.

    Parameters
    ----------
    name : str
        Of the curve; what stands before a slash groups curves.
    value : float
        Losses as they are, accuracies in percent, seconds, bytes.
    step : int
        Rounds since the run's beginning, 0 before the first.
    time : float
        Seconds since the epoch.
    """

    name: str
    value: float
    step: int
    time: float


class Scalars:
    """Turn events into points; steps never go back, since what was done again has no place here.

    Take the events of ``events_that_stand``, in their order.
    """

    def __init__(self) -> None:
        self._stages: list[str] = []
        self._rounds = 0
        self._losses: list[float] = []
        self._refused = 0

    def of(self, event: Mapping[str, Any]) -> list[Scalar]:
        """Give the points of an event; most have none."""
        kind = event.get("event")
        found: dict[str, object] = {}
        if kind in ("run-started", "run-resumed"):
            self._stages = [str(name) for name in event.get("stages") or []]
            self._rounds = int(event.get("rounds") or 0)
        elif kind == "round-started":
            self._losses, self._refused = [], 0
        elif kind == "client-replied" and event.get("loss") is not None:
            self._losses.append(float(event["loss"]))
            found[f"loss of a client/{event['client']}"] = event["loss"]
        elif kind == "client-rejected":
            self._refused += 1
        elif kind == "round-finished":
            found |= self._round(event)
        elif kind == "stage-evaluated":
            found |= self._stage(event)
        elif kind == "run-finished":
            found |= {"result/Last": event.get("last"), "result/Avg": event.get("avg")}
        step, time = self._step(event), float(event.get("time", 0.0))
        return [
            Scalar(name, float(value), step, time)
            for name, value in found.items()
            if isinstance(value, int | float)
        ]

    def _round(self, event: Mapping[str, Any]) -> dict[str, object]:
        losses = self._losses
        return {
            "round/loss, mean over clients": sum(losses) / len(losses) if losses else None,
            "round/replies refused": self._refused,
            **{f"seconds/{phase}": spent for phase, spent in (event.get("seconds") or {}).items()},
            **{f"bytes/{way}": sent for way, sent in (event.get("bytes") or {}).items()},
        }

    def _stage(self, event: Mapping[str, Any]) -> dict[str, object]:
        accuracy = [float(percent) for percent in event.get("accuracy") or []]
        if not accuracy:
            return {}
        # Ledgers of earlier versions name no tasks; in task settings a stage is a task.
        names = event.get("tasks") or self._stages
        named = zip(names, accuracy, strict=False) if len(names) >= len(accuracy) else ()
        return {
            "accuracy/mean over tasks seen": sum(accuracy) / len(accuracy),
            **{f"accuracy of a task/{task}": percent for task, percent in named},
        }

    def _step(self, event: Mapping[str, Any]) -> int:
        if event.get("event") == "run-finished":
            return len(self._stages) * self._rounds
        stage, number = int(event.get("stage") or 0), event.get("round")
        if number is None:  # at the end of its stage
            return stage * self._rounds
        return max(0, stage - 1) * self._rounds + int(number)
