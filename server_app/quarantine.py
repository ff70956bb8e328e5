"""The run's last word on refused replies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def quarantined(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """List the clients whose replies were refused, from a ledger's events that stand.

    Returns
    -------
    list[dict]
        By client: ``client``, ``replies`` (how many were refused), ``rounds`` (stage and round of
        each, the round null for what is asked at a stage's end), ``reasons`` (each once, in order)
        and ``benched`` (stages that went on without the client).
    """
    found: dict[int, dict[str, Any]] = {}
    for event in events:
        refused = event["event"] == "client-rejected" and event.get("quarantined")
        if not refused and event["event"] != "client-benched":
            continue
        fresh = {"replies": 0, "rounds": [], "reasons": [], "benched": []}
        entry = found.setdefault(event["client"], {"client": event["client"], **fresh})
        if not refused:
            entry["benched"].append(event["stage"])
            continue
        entry["replies"] += 1
        entry["rounds"].append([event["stage"], event.get("round")])
        if event["reason"] not in entry["reasons"]:
            entry["reasons"].append(event["reason"])
    return [found[client] for client in sorted(found)]


def in_words(entry: Mapping[str, Any]) -> str:
    """Say in a line what was refused of one client."""
    number, stages = entry["replies"], ", ".join(map(str, entry["benched"]))
    more = len(entry["reasons"]) - 1
    return (
        f"quarantined: {number} {'reply' if number == 1 else 'replies'} of client "
        f"{entry['client']}: {entry['reasons'][0]}"
        + (f" (and {more} other reasons)" if more > 0 else "")
        + (f"; benched in stage {stages}" if stages else "")
    )
