"""What each client of a run is doing, worked out from the ledger's events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LATEST_LOSSES = 30
"""How many of a client's losses are kept for its curve."""


@dataclass
class ClientState:
    """One client, as the events so far tell.

    Attributes
    ----------
    doing : str
        "not drawn", "trains", "late", "delivered", "refused" or "benched".
    since : float
        When that began, seconds since the epoch.
    task : str
        What it learned last; empty if the ledger does not say.
    subspace : int or None
        Where it trained last.
    losses : list[float]
        Its latest losses, the last one at the end.
    rounds : int
        Rounds that it delivered in.
    refused : int
        Replies of its that were not used.
    seconds : float or None
        How long its last training took.
    reason : str
        Why its last reply was refused; empty once it has delivered again.
    """

    doing: str = "not drawn"
    since: float = 0.0
    task: str = ""
    subspace: int | None = None
    losses: list[float] = field(default_factory=list)
    rounds: int = 0
    refused: int = 0
    seconds: float | None = None
    reason: str = ""

    def now(self, doing: str, event: Mapping[str, Any]) -> None:
        """Take note that something else has begun."""
        self.doing, self.since = doing, float(event.get("time", 0.0))


class ClientStates(dict[int, ClientState]):
    """Client to its state; ``consume`` takes the events in as the ledger has them.

    Counts are of all that the ledger holds: a round that was done again after an interruption has
    been delivered in twice.
    """

    def consume(self, event: Mapping[str, Any]) -> None:
        """Take one event in; those that tell nothing of a client are passed over."""
        handler = getattr(self, "_on_" + str(event.get("event", "")).replace("-", "_"), None)
        if handler:
            handler(event)

    def _of(self, event: Mapping[str, Any]) -> ClientState:
        return self.setdefault(int(event["client"]), ClientState())

    def _on_run_started(self, event: Mapping[str, Any]) -> None:
        for client in range(int(event.get("clients") or 0)):
            self.setdefault(client, ClientState())

    def _on_run_resumed(self, event: Mapping[str, Any]) -> None:
        self._on_run_started(event)
        self._nobody_trains(event)

    def _on_stage_started(self, event: Mapping[str, Any]) -> None:
        for state in self.values():
            state.now("not drawn", event)

    def _on_round_started(self, event: Mapping[str, Any]) -> None:
        drawn = [int(client) for client in event.get("participants") or []]
        self._nobody_trains(event)
        for client in drawn:
            self.setdefault(client, ClientState()).now("trains", event)

    def _on_client_replied(self, event: Mapping[str, Any]) -> None:
        state = self._of(event)
        state.now("delivered", event)
        state.rounds += 1
        state.reason = ""
        state.task = str(event.get("lesson") or "")
        state.subspace = event.get("subspace")
        state.seconds = event.get("seconds")
        if event.get("loss") is not None:
            state.losses = [*state.losses, float(event["loss"])][-LATEST_LOSSES:]

    def _on_client_rejected(self, event: Mapping[str, Any]) -> None:
        state = self._of(event)
        state.now("refused", event)
        state.refused += 1
        state.reason = str(event.get("reason") or "no reason given")

    def _on_client_benched(self, event: Mapping[str, Any]) -> None:
        self._of(event).now("benched", event)

    def _on_waiting(self, event: Mapping[str, Any]) -> None:
        for client in event.get("clients") or []:
            state = self.setdefault(int(client), ClientState())
            if state.doing == "trains":
                state.doing = "late"  # since when it trains stays the question

    def _on_run_stopped(self, event: Mapping[str, Any]) -> None:
        self._nobody_trains(event)

    def _on_run_failed(self, event: Mapping[str, Any]) -> None:
        self._nobody_trains(event)

    def _nobody_trains(self, event: Mapping[str, Any]) -> None:
        """End a round; who is benched stays so until the stage's end."""
        for state in self.values():
            if state.doing != "benched":
                state.now("not drawn", event)
