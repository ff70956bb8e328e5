"""Clients that took no part, or whose work was refused, and why; records that were left out."""

from __future__ import annotations

from markupsafe import Markup

from fcit_app.report.html import render, table
from fcit_app.report.reading import Event, Reading

_KINDS = {"client-rejected": "left out", "shard-rejected": "evaluation refused"}


def refusals(run: Reading) -> Markup | None:
    """Make the table of refused and missing replies, one row a client and reason.

    Returns
    -------
    Markup or None
        A sentence where nothing was refused; None where the run had no clients.
    """
    if not run.of("round-started"):
        return None
    found: dict[tuple[int, str, str], list[Event]] = {}
    for event in run.of(*_KINDS):
        kind = "quarantined" if event.get("quarantined") else _KINDS[event["event"]]
        key = (int(event["client"]), kind, str(event.get("reason", "no reason given")))
        found.setdefault(key, []).append(event)
    left_out = _left_out(run)
    if not found:
        none = render('<p class="note">No client was left out, and no reply refused.</p>')
        return none + left_out
    rows = [
        [f"client {client}", kind, str(len(events)), ", ".join(map(_when, events)), reason]
        for (client, kind, reason), events in sorted(found.items())
    ]
    text = table(["client", "what", "times", "stage.round", "reason"], rows)
    benched = [f"client {e['client']} in stage {e['stage']}" for e in run.of("client-benched")]
    if benched:
        note = "Not drawn any more: {{ who }}."
        text += render(f'<p class="note">{note}</p>', who=", ".join(benched))
    return text + left_out


def _left_out(run: Reading) -> Markup:
    """Make the table of bad records that were skipped; nothing if there were none."""
    told = {(e.get("client"), str(e.get("text", ""))): e for e in run.of("samples-skipped")}
    rows = [
        ["server" if client is None else f"client {client}", str(event.get("records")), text]
        for (client, text), event in told.items()
    ]
    return table(["who", "records left out", "which"], rows) if rows else Markup()


def _when(event: Event) -> str:
    number = event.get("round")
    return f"{event.get('stage')}" + ("" if number is None else f".{number}")
