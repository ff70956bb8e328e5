"""What happens when a round has fewer usable replies than it needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from fcit_app.config import RunConfig
from fcit_app.data.stages import Stage

Step = Literal["aggregate", "retry", "stop"]

_IN_WORDS: Mapping[Step, str] = {
    "aggregate": "the round goes on without them",
    "retry": "the round is tried again with other clients",
    "stop": "the run stops",
}


def next_step(config: RunConfig, usable: int, attempt: int) -> Step:
    """Say how a round goes on.

    Parameters
    ----------
    config : RunConfig
        Its ``min_clients``, ``on_shortfall`` and ``shortfall_retries`` decide.
    usable : int
        Usable replies so far.
    attempt : int
        The attempt under way, from 0.
    """
    if usable >= config.min_clients:
        return "aggregate"
    if config.on_shortfall == "proceed" and usable:
        return "aggregate"
    if config.on_shortfall == "retry" and attempt < config.shortfall_retries:
        return "retry"
    return "stop"


def in_words(step: Step) -> str:
    """Say what a step means for those who have not answered."""
    return _IN_WORDS[step]


def pool(
    clients: Collection[int], benched: Collection[int], failed: Collection[int], needed: int
) -> tuple[int, ...]:
    """Choose the clients of whom a round's participants are drawn.

    Parameters
    ----------
    clients : Collection[int]
        All clients of the run.
    benched : Collection[int]
        Those that the stage goes on without.
    failed : Collection[int]
        Those that failed earlier attempts at this round; they are asked again only if the others
        are fewer than ``needed``.
    needed : int
        Usable replies that the round needs.
    """
    good = tuple(client for client in clients if client not in benched)
    fresh = tuple(client for client in good if client not in failed)
    return fresh if len(fresh) >= needed else good


def why_stopped(
    config: RunConfig,
    stage: Stage,
    number: int,
    participants: Collection[int],
    usable: int,
    rejected: Mapping[int, str],
) -> str:
    """Say why the run stops, with the first reason and how to go on."""
    names = ", ".join(str(client) for client in participants)
    client, reason = next(iter(rejected.items()), (None, "the strategy made nothing of them"))
    first = reason if client is None else f"client {client}: {reason}"
    delivered = (
        f"only {usable} of the participants ({names}) delivered a usable reply, min-clients is "
        f"{config.min_clients}"
        if usable
        else f"none of the participants ({names}) delivered a usable reply"
    )
    return (
        f"Stage {stage.number} ({stage.name}), round {number}: {delivered}. The first reason: "
        f"{first}. Mend it and resume the run"
        + (", lower min-clients" if usable else "")
        + (" or set on-shortfall=retry." if config.on_shortfall != "retry" else ".")
    )
