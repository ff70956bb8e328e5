"""Whether a run that goes on is still the same run: what differs, and what of it may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcit_app.errors import RunFolderError

PLACES = frozenset(
    {
        *("out", "resume", "resume-allow", "client-resident", "tracking"),
        *("data.feature-cache", "data.workers"),
    }
)
"""Keys that say where a run lies and how it goes on, how long a node keeps its base in memory, who
draws its curves, where features are kept and who processes pictures, and nothing about its result.
"""

HARMLESS = frozenset(
    {
        *("client-timeout", "round-timeout", "min-clients", "on-shortfall", "shortfall-retries"),
        *("guard.norm-factor", "guard.strikes"),
        *("evaluate.batch-size", "evaluate.where", "evaluate.predictions", "data.root"),
    }
)
"""Keys that may change: how long and for how many clients a round waits, whose replies are refused,
how many questions are asked together, who answers them and whether answers are kept, and where the
data lie (what they are is compared by itself)."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was.

    Parameters
    ----------
    what : str
        Its name, what it was and what it is.
    harmless : bool
        Whether a run may go on all the same, if its user says so. The result may then differ from
        the uninterrupted run's in its last bits, or by clients who answer late.
    """

    what: str
    harmless: bool


def config_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Compare two flat configurations."""
    return [
        Difference(f"{key} was {before.get(key)!r} and is {now.get(key)!r}", key in HARMLESS)
        for key in dict.fromkeys([*before, *now])
        if key not in PLACES and before.get(key) != now.get(key)
    ]


def environment_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Compare two environments (``describe_environment``): versions, processor, source commit."""
    names = {"python": "Python", "machine": "the processor", "commit": "the source's commit"}
    facts = [(name, before.get(key), now.get(key)) for key, name in names.items()]
    packages = before.get("packages", {}), now.get("packages", {})
    facts += [(name, *(p.get(name) for p in packages)) for name in packages[0] | packages[1]]
    return [
        Difference(f"{name} was {old} and is {new}", True)
        for name, old, new in facts
        # An unknown commit (no git there) tells nothing; a package that is gone does.
        if old != new and not (name == names["commit"] and None in (old, new))
    ]


def data_differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    """Compare two fingerprints of data (``fcit_app.data.fingerprint``)."""
    return [
        Difference(f"the data of {name} are not the same as before", False)
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def refuse(path: object, differences: Sequence[Difference], allow: bool) -> list[str]:
    """Refuse to go on if there are differences; give those that are accepted.

    Parameters
    ----------
    path : object
        The run's folder.
    differences : Sequence[Difference]
        Between the run and what would go on with it.
    allow : bool
        Whether harmless ones are accepted (``resume-allow``).

    Raises
    ------
    RunFolderError
        With all the differences that are not accepted.
    """
    refused = [found for found in differences if not (found.harmless and allow)]
    if not refused:
        return [found.what for found in differences]
    lines = "".join(
        f"\n  - {found.what}{' (harmless)' if found.harmless else ''}" for found in refused
    )
    if all(found.harmless for found in refused):
        mend = "Go on as before, or accept them with --allow (key resume-allow = true)."
    else:
        mend = "Go on with what the run was begun with, or begin another run with --out."
    raise RunFolderError(f"The run in {path} cannot go on, this differs:{lines}\n{mend}")
