"""Where each subspace came from, without naming a client."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcit_app.runs import events_that_stand, read_ledger


@dataclass(frozen=True)
class Origin:
    """Who trained a subspace, and when.

    Parameters
    ----------
    stages : tuple[int, ...]
        Stages in which it was trained, ascending.
    rounds : int
        Rounds in which it was trained.
    clients : Mapping[str, int]
        Pseudonym to samples: the most of a stage, summed over stages.
    """

    stages: tuple[int, ...]
    rounds: int
    clients: Mapping[str, int]


def origins(run: Path) -> dict[int, Origin]:
    """Read the origins of all subspaces from a run's ledger; a run without ledger has none.

    Pseudonyms are hashes with a salt that is drawn here and kept nowhere: the same client has the
    same one in all of this answer, and another one in the next.
    """
    ledger = run / "ledger.jsonl"
    if not ledger.is_file():
        return {}
    events = [
        event
        for event in events_that_stand(read_ledger(ledger))
        if event.get("event") == "client-replied"
    ]
    salt = secrets.token_hex(16)
    by_subspace: dict[int, list[Mapping[str, Any]]] = {}
    for event in events:
        by_subspace.setdefault(int(event.get("subspace") or 0), []).append(event)
    return {number: _origin(found, salt) for number, found in sorted(by_subspace.items())}


def _origin(events: Sequence[Mapping[str, Any]], salt: str) -> Origin:
    samples: dict[tuple[str, int], int] = {}
    for event in events:
        key = _pseudonym(event["client"], salt), int(event["stage"])
        samples[key] = max(samples.get(key, 0), int(event.get("examples", 0)))
    clients: dict[str, int] = {}
    for (name, _), count in sorted(samples.items()):
        clients[name] = clients.get(name, 0) + count
    rounds = {(event["stage"], event["round"]) for event in events}
    return Origin(tuple(sorted({stage for stage, _ in rounds})), len(rounds), clients)


def _pseudonym(client: object, salt: str) -> str:
    return hashlib.sha256(f"{salt} {client}".encode()).hexdigest()[:8]
