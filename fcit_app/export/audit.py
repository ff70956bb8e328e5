"""Proof from a run's ledger and state: no subspace changed but by clients that joined it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcit_app.evaluate.saved_run import SavedRun
from fcit_app.export.forget import FORGOTTEN
from fcit_app.model.bank_hash import bank_hashes
from fcit_app.runs import events_that_stand, read_ledger

HASHED = "bank-hashed"
"""Event at the end of each stage, with ``fcit_app.model.bank_hash.bank_hashes``."""


@dataclass(frozen=True)
class SubspaceAudit:
    """What the hashes say of one subspace.

    Parameters
    ----------
    identifier : int
        Of the subspace.
    trained : tuple[int, ...]
        Stages in which clients trained it.
    changed : tuple[int, ...]
        Stages at whose end its hash was new.
    problems : tuple[str, ...]
        What does not go together; empty is good.
    """

    identifier: int
    trained: tuple[int, ...]
    changed: tuple[int, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """The outcome.

    Parameters
    ----------
    stages : tuple[int, ...]
        Stages with hashes; empty for runs from before hashes were kept: nothing is proved then.
    subspaces : tuple[SubspaceAudit, ...]
        By identifier.
    projector : tuple[int, ...]
        Stages at whose end the shared projector was new.
    problems : tuple[str, ...]
        What concerns no single subspace.
    """

    stages: tuple[int, ...]
    subspaces: tuple[SubspaceAudit, ...]
    projector: tuple[int, ...]
    problems: tuple[str, ...]

    @property
    def proved(self) -> bool:
        """Whether there were hashes and all of them agree."""
        return (
            bool(self.stages) and not self.problems and not any(s.problems for s in self.subspaces)
        )


def audit_run(run: SavedRun) -> Audit:
    """Compare the hashes of all stages with each other, with who trained, and with the state.

    A subspace may change in a stage if a client's reply was taken for it there, and in no other;
    once there it stays; and the state holds what was hashed last. The ledger is no more than a
    file: who can write both it and the state can forge both.

    Parameters
    ----------
    run : SavedRun
        With a ledger.
    """
    events = events_that_stand(read_ledger(run.path / "ledger.jsonl"))
    hashed = {int(e["stage"]): e for e in events if e.get("event") == HASHED}
    trained: dict[int, set[int]] = {}
    for event in events:
        if event.get("event") == "client-replied":
            trained.setdefault(int(event.get("subspace") or 0), set()).add(int(event["stage"]))
    now = bank_hashes(run.bank)
    if not hashed:
        return Audit((), (), (), ("The run's ledger holds no hashes: it is from before they were "
                                  "kept, so nothing can be proved.",))  # fmt: skip
    stages = sorted(hashed)
    problems = [
        f"There are no hashes of stage {stage}."
        for stage in range(1, stages[-1])
        if stage not in hashed
    ]
    # Saved in the middle of a stage, the state is ahead of the hashes where clients have trained.
    ahead = run.stage > stages[-1]
    forgotten = {int(e["subspace"]) for e in events if e.get("event") == FORGOTTEN}
    every = {int(n) for e in hashed.values() for n in e["subspaces"]}
    # What was taken out on purpose is not missed.
    gone = {n for n in forgotten if str(n) not in now["subspaces"]}
    identifiers = sorted(every - gone)
    audits = [
        _subspace(number, hashed, trained.get(number, set()), now["subspaces"], ahead)
        for number in identifiers
    ]
    strangers = sorted(set(map(int, now["subspaces"])) - every)
    problems += [
        f"The state holds subspace {number}, which no hash names."
        for number in strangers
        if not (ahead and run.stage in trained.get(number, set()))
    ]
    projectors = [hashed[stage]["projector"] for stage in stages]
    if now["projector"] != projectors[-1] and not ahead:
        problems.append("The projector in the state is not the one hashed last.")
    changed = tuple(
        stage
        for place, stage in enumerate(stages)
        if place == 0 or projectors[place] != projectors[place - 1]
    )
    return Audit(tuple(stages), tuple(audits), changed if any(projectors) else (), tuple(problems))


def _subspace(
    number: int,
    hashed: Mapping[int, Mapping[str, Any]],
    trained: set[int],
    now: Mapping[str, str],
    ahead: bool,
) -> SubspaceAudit:
    name, last = str(number), max(hashed)
    known: str | None = None
    changed: list[int] = []
    problems: list[str] = []
    for stage in sorted(hashed):
        found = hashed[stage]["subspaces"].get(name)
        if found == known:
            continue
        if found is None:
            problems.append(f"gone at the end of stage {stage}")
        else:
            changed.append(stage)
            if stage not in trained:
                problems.append(f"changed in stage {stage}, where no client trained it")
        known = found
    if now.get(name) != known and not (ahead and any(stage > last for stage in trained)):
        problems.append("not in the state any more" if name not in now else
                        f"in the state it is not what was hashed after stage {last}")  # fmt: skip
    return SubspaceAudit(number, tuple(sorted(trained)), tuple(changed), tuple(problems))


def told(audit: Audit) -> Sequence[str]:
    """Write the outcome in lines."""
    lines = [f"Problem: {problem}" for problem in audit.problems]
    for entry in audit.subspaces:
        stages = ", ".join(map(str, entry.changed))
        verdict = "; ".join(entry.problems) or "unchanged in every other stage"
        lines.append(
            f"Subspace {entry.identifier}: trained and changed in stage {stages}; {verdict}"
        )
    if len(audit.projector) > 1:
        lines.append(
            "The shared projector changed in stages "
            f"{', '.join(map(str, audit.projector))}: through it later stages can alter earlier "
            "answers."
        )
    if audit.proved:
        lines.append(f"Proved for {len(audit.stages)} stages.")
    return lines
