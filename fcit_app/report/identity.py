"""Subspaces: how alike their tokens are, where they came from, who joined which one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from fcit_app.identity.tokens import cosine_matrix
from fcit_app.report.heat import Cell, heat_map
from fcit_app.report.html import MISSING, render, table
from fcit_app.report.reading import Event, Reading


def token_similarity(run: Reading) -> Markup | None:
    """Draw the cosine of every two subspaces' tokens; pairs from the threshold on are framed."""
    if not run.tokens:
        return None
    vectors = np.stack(list(run.tokens.values()))
    cosines = cosine_matrix(vectors, vectors)
    tau = run.config.get("identity.tau")
    threshold = float(tau) if isinstance(tau, (int, float)) else None
    names = [f"{identifier}" for identifier in run.tokens]
    rows = []
    for y, name in enumerate(names):
        row = [
            Cell(f"{value:.2f}", float(value), _framed(x != y, float(value), threshold))
            for x, value in enumerate(cosines[y])
        ]
        rows.append((f"subspace {name}{_tasks(run, int(name))}", row))
    caption = "Cosine of the subspaces' identity tokens"
    if threshold is not None:
        caption += f"; a client joins a subspace from tau = {threshold:g} on"
        others = cosines[~np.eye(len(names), dtype=bool)]
        if others.size:
            caption += f"; the nearest two are at {others.max():.2f}"
    return heat_map(caption, names, rows)


def subspaces(run: Reading) -> Markup | None:
    """Make the table of where each subspace came from; None before the run has finished."""
    found = run.result.subspaces if run.result else None
    if not found:
        return None
    rows = [
        [
            str(one.id),
            str(one.first_stage),
            str(one.samples),
            ", ".join(f"{task} {count}" for task, count in one.task_counts.items()),
        ]
        for one in found
    ]
    text = table(["subspace", "opened in stage", "samples", "from"], rows)
    trained = {task for one in found for task in one.task_counts}
    unscored = sorted(trained - set(run.result.tasks if run.result else ()))
    if unscored:
        note = "Learnt, but not evaluated on the server: {{ names }} (no test samples there)."
        text += render(f'<p class="note">{note}</p>', names=", ".join(unscored))
    return text


def who_joined(run: Reading) -> Markup | None:
    """Make the table of the subspaces that each client trained, stage by stage."""
    replies = [e for e in run.of("client-replied") if e.get("subspace") is not None]
    if not replies or len({reply["subspace"] for reply in replies}) < 2:
        return None
    matched = {
        (event["stage"], entry["client"], entry["subspace"]): entry
        for event in run.of("clients-matched")
        for entry in event.get("clients") or []
    }
    clients = sorted({reply["client"] for reply in replies})
    rows = []
    for event in run.of("stage-started"):
        stage = event["stage"]
        row = [f"{stage} {', '.join(event['tasks'])}"]
        for client in clients:
            mine = {r["subspace"] for r in replies if (r["stage"], r["client"]) == (stage, client)}
            parts = [f"{s}{_how(matched.get((stage, client, s)))}" for s in sorted(mine)]
            row.append(", ".join(parts) or MISSING)
        rows.append(row)
    note = (
        "The number of the subspace that a client trained in a stage"
        + (": ★ opened it, else the cosine with which it joined" if matched else "")
        + f". {MISSING}: not drawn."
    )
    header = ["stage", *(f"client {client}" for client in clients)]
    return table(header, rows) + render('<p class="note">{{ note }}</p>', note=note)


def _how(entry: Event | None) -> str:
    if entry is None:
        return ""
    if entry.get("opened"):
        return " ★"
    cosine = entry.get("cosine")
    return "" if cosine is None else f" ({cosine:.2f})"


def _framed(other: bool, value: float, threshold: float | None) -> bool:
    return other and threshold is not None and value >= threshold


def _tasks(run: Reading, identifier: int) -> str:
    """Tasks of a subspace in brackets, if the run tells them."""
    counts: Mapping[int, Mapping[str, int]] = {
        one.id: one.task_counts for one in (run.result.subspaces if run.result else None) or []
    }
    return f" ({', '.join(counts[identifier])})" if counts.get(identifier) else ""
