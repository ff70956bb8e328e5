"""What a run has done and what is left of it, worked out from its ledger alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class RunProgress:
    """State of a run after the events seen so far.

    Attributes
    ----------
    phase : str
        What the run is doing, in words; changes with ``consume`` or by assignment.
    finished : bool
        Whether the run has said that it finished.
    failure : str or None
        Why the run failed, if it said so.
    stopped : bool
        Whether the run has stopped because it was asked to.
    """

    def __init__(self, phase: str = "starting") -> None:
        self.phase = phase
        self.finished = False
        self.failure: str | None = None
        self.stopped = False
        self._stages: list[str] = []
        self._columns: list[int] = []
        self._rounds = 0
        self._stage = 0
        self._rounds_done = 0
        self._evaluations_done = 0
        self._round_seconds: list[float] = []
        self._column_seconds: list[float] = []
        self._evaluated = 0.0
        self._progressed = 0.0
        self._since = 0.0

    def consume(self, event: Mapping[str, Any]) -> str | None:
        """Take one ledger event in.

        Returns
        -------
        str or None
            A line that reports it, or None for events too frequent for a line.
        """
        kind = str(event.get("event", ""))
        handler = getattr(self, "_on_" + kind.replace("-", "_"), None)
        line: str | None = handler(event) if handler else None
        return line

    def fraction(self, now: float) -> float:
        """Share of the run that is done, 0 to 1, by the work's measured or guessed seconds."""
        if self.finished:
            return 1.0
        if not self._rounds:
            return self._evaluated
        total = self._seconds(len(self._stages) * self._rounds, 0)
        left = self.seconds_left(now)
        return 0.0 if left is None or total <= 0 else min(1.0, max(0.0, 1.0 - left / total))

    def seconds_left(self, now: float) -> float | None:
        """Estimated seconds to the end; None before the first round is measured.

        Parameters
        ----------
        now : float
            Seconds since the epoch, as the ledger's times.
        """
        if self.finished:
            return 0.0
        if not self._rounds and self._evaluated:
            elapsed = self._progressed - self._since
            left = elapsed * (1.0 - self._evaluated) / self._evaluated
            return max(0.0, left - (now - self._progressed))
        if not (self._round_seconds or self._column_seconds):
            return None
        rounds = len(self._stages) * self._rounds - self._rounds_done
        return max(0.0, self._seconds(rounds, self._evaluations_done) - (now - self._since))

    def _seconds(self, rounds: int, evaluations_done: int) -> float:
        """Seconds that some rounds and the evaluations after the first few take.

        The evaluation after a stage asks all tasks seen by then (columns), so later ones take
        longer.
        """
        a_round = _mean(self._round_seconds, 1.0)
        a_column = _mean(self._column_seconds, a_round)
        columns = sum(self._columns[evaluations_done:])
        return rounds * a_round + columns * a_column

    def _name(self, stage: int) -> str:
        """Name a stage like ``stage 2/8 arxivqa``."""
        if not self._stages:
            return f"stage {stage}"
        if stage == 0:
            return "before the first stage"
        name = self._stages[stage - 1] if 0 < stage <= len(self._stages) else ""
        return f"stage {stage}/{len(self._stages)} {name}".rstrip()

    def _where(self, event: Mapping[str, Any]) -> str:
        where = self._name(int(event.get("stage", self._stage)))
        number = event.get("round")
        return where if number is None else f"{where} · round {number}/{self._rounds or '?'}"

    def _on_run_started(self, event: Mapping[str, Any]) -> str:
        self._stages = [str(stage) for stage in event.get("stages") or []]
        # Without a word about it, every stage brings one task.
        self._columns = list(event.get("columns") or range(1, len(self._stages) + 1))
        self._rounds = int(event.get("rounds") or 0)
        self._since = float(event.get("time", 0.0))
        self.phase = "loading the base model and the data"
        parts = [f"{event.get('method', 'run')} started"]
        if self._rounds:
            parts += [_count(len(self._stages), "stage"), f"{_count(self._rounds, 'round')} each"]
        if event.get("clients"):
            parts.append(_count(int(event["clients"]), "client"))
        return " · ".join(parts)

    def _on_run_resumed(self, event: Mapping[str, Any]) -> str:
        self._on_run_started(event)
        self.failure, self.stopped = None, False
        self._stage, number = int(event.get("stage", 0)), int(event.get("round", 0))
        self._rounds_done = max(0, self._stage - 1) * self._rounds + number
        self._evaluations_done = max(0, self._stage - (event.get("step") != "evaluated"))
        if not number:
            return "resumed · nothing was saved yet, it begins anew"
        where = f"resumed after {self._where(event)}"
        return " · ".join([where, *([str(event["note"])] if event.get("note") else [])])

    def _on_stage_started(self, event: Mapping[str, Any]) -> str:
        self._stage = int(event.get("stage", self._stage + 1))
        self._since = float(event.get("time", self._since))
        self.phase = self._name(self._stage)
        return f"{self.phase} started"

    def _on_round_started(self, event: Mapping[str, Any]) -> str:
        self._since = float(event.get("time", self._since))
        clients = ", ".join(str(client) for client in event.get("participants") or [])
        self.phase = f"{self._where(event)} · clients {clients} train"
        return self.phase

    def _on_client_replied(self, event: Mapping[str, Any]) -> str:
        line = f"{self._where(event)} · client {event.get('client')}"
        if event.get("lesson"):
            line += f" · {event['lesson']}"
        if event.get("loss") is not None:
            line += f" · loss {float(event['loss']):.3f}"
        if event.get("subspace") is not None:
            line += f" · subspace {event['subspace']}"
        if event.get("seconds") is not None:
            line += f" · {float(event['seconds']):.1f} s"
        return line

    def _on_client_rejected(self, event: Mapping[str, Any]) -> str:
        return (
            f"{self._where(event)} · client {event.get('client')} rejected: "
            f"{event.get('reason', 'no reason given')}"
        )

    def _on_samples_skipped(self, event: Mapping[str, Any]) -> str:
        who = "the server" if event.get("client") is None else f"client {event['client']}"
        return f"{who} left out bad records: {event.get('text', '')}"

    def _on_clients_matched(self, event: Mapping[str, Any]) -> str:
        parts = []
        for entry in event.get("clients") or []:
            how = "opens" if entry.get("opened") else "joins"
            near = "" if entry.get("cosine") is None else f" (cosine {entry['cosine']:.3f})"
            client, subspace = entry.get("client"), entry.get("subspace")
            parts.append(f"client {client} {how} subspace {subspace}{near}")
        return f"{self._where(event)} · {', '.join(parts)}"

    def _on_waiting(self, event: Mapping[str, Any]) -> str:
        clients = ", ".join(str(client) for client in event.get("clients") or [])
        return (
            f"{self._where(event)} · no reply from clients {clients} for "
            f"{duration(event.get('seconds', 0))}; in {duration(event.get('left', 0))} "
            f"{event.get('then', '')}"
        )

    def _on_round_short(self, event: Mapping[str, Any]) -> str:
        return (
            f"{self._where(event)} · {event.get('usable')} usable replies, {event.get('needed')} "
            "needed: tried again"
        )

    def _on_client_benched(self, event: Mapping[str, Any]) -> str:
        return (
            f"{self._where(event)} · client {event.get('client')} is not drawn any more in this "
            f"stage: {event.get('strikes')} replies refused"
        )

    def _on_round_finished(self, event: Mapping[str, Any]) -> str:
        end = float(event.get("time", self._since))
        seconds = max(0.0, end - self._since)
        self._round_seconds.append(seconds)
        self._rounds_done += 1
        self._since = end
        self.phase = f"{self._where(event)} · finished"
        return f"{self.phase} in {seconds:.1f} s"

    def _on_importance_gathered(self, event: Mapping[str, Any]) -> str:
        clients = ", ".join(str(client) for client in event.get("clients") or [])
        return f"{self._where(event)} · importance from clients {clients or 'none'}"

    def _on_evaluate_progress(self, event: Mapping[str, Any]) -> str | None:
        done, total = event.get("done"), event.get("total")
        self.phase = f"{self._name(int(event.get('stage', self._stage)))} · evaluated"
        if event.get("task"):
            self.phase += f" {event['task']}"
        if done is not None and total:
            self.phase += f" · {done}/{total}"
            self._evaluated = int(done) / int(total)
            self._progressed = float(event.get("time", self._since))
        # Between rounds it would drown the clients' lines; without rounds it is all there is.
        return None if self._rounds else self.phase

    def _on_shard_evaluated(self, event: Mapping[str, Any]) -> str | None:
        if event.get("client") is None:
            return f"{self._where(event)} · the server answered {event.get('questions')} questions"
        return None

    def _on_shard_rejected(self, event: Mapping[str, Any]) -> str:
        return (
            f"{self._where(event)} · evaluation by client {event.get('client')} rejected: "
            f"{event.get('reason', 'no reason given')}"
        )

    def _on_shards_passed_on(self, event: Mapping[str, Any]) -> str:
        to = event.get("to")
        names = to if isinstance(to, str) else f"clients {', '.join(map(str, to or []))}"
        return f"{self._where(event)} · {event.get('questions')} questions go to {names}"

    def _on_stage_evaluated(self, event: Mapping[str, Any]) -> str:
        end = float(event.get("time", self._since))
        self._evaluations_done += 1
        asked = self._columns[self._evaluations_done - 1 : self._evaluations_done]
        columns = max(1, *asked, len(event.get("accuracy") or []))
        self._column_seconds.append(max(0.0, end - self._since) / columns)
        self._since = end
        scores = " ".join(f"{float(value):.0f}" for value in event.get("accuracy") or [])
        where = self._name(int(event.get("stage") or self._stage))
        self.phase = f"{where} · evaluated"
        return f"{self.phase} · accuracy {scores}" if scores else self.phase

    def _on_run_finished(self, event: Mapping[str, Any]) -> str:
        self.finished = True
        self.phase = "finished"
        shown = [
            f"{name} {float(event[key]):.1f}"
            for name, key in (("Last", "last"), ("Avg", "avg"))
            if event.get(key) is not None
        ]
        return " · ".join(["finished", *shown])

    def _on_run_failed(self, event: Mapping[str, Any]) -> str:
        self.failure = str(event.get("reason") or "no reason given")
        self.phase = "failed"
        return f"failed: {self.failure}"

    def _on_run_stopped(self, event: Mapping[str, Any]) -> str:
        self.stopped = True
        self.phase = "stopped, as it was asked to"
        return self.phase

    def _on_note(self, event: Mapping[str, Any]) -> str:
        return str(event.get("text", ""))


def duration(seconds: float) -> str:
    """``45 s``, ``3:05``, ``1:02:09``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
