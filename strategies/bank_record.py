"""The bank as one flat ArrayRecord with readable keys, which is how it goes round after round.

Keys: `subspace-000/adapter/<parameter>` (float32), `subspace-000/token` ((d,) float32 sum of
features), `subspace-000/count` and `subspace-000/first-stage` (int64), `projector/<parameter>`.
Where a subspace has them: `subspace-000/projector/<parameter>` and, of p prototypes,
`subspace-000/prototypes` ((p, d) float32) with `subspace-000/prototype-counts` ((p,) int64).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Array, ArrayRecord

from fcit_app.errors import DataError, ModelError
from fcit_app.identity.tokens import IdentityToken
from strategies.records import PROJECTOR

_KEY = re.compile(
    r"subspace-(?P<identifier>\d{3,})/(adapter/(?P<parameter>.+)|projector/(?P<own>.+)"
    r"|(?P<fact>token|count|first-stage|prototypes|prototype-counts))"
    r"|projector/(?P<projector>.+)"
)

_OWN = f"{PROJECTOR}/"


@dataclass(frozen=True)
class SubspaceRecord:
    """One subspace; its adapter stays serialised, so that an untouched one keeps its bits.

    Attributes
    ----------
    identifier : int
        Number of the subspace; never given to another one once it is in the bank.
    adapter : ArrayRecord
        Parameter name to float32 array.
    token : IdentityToken
        Global identity token.
    first_stage : int
        Stage that opened it.
    projector : ArrayRecord or None
        The projector of its own, if it has one.
    """

    identifier: int
    adapter: ArrayRecord
    token: IdentityToken
    first_stage: int
    projector: ArrayRecord | None = None

    @property
    def part(self) -> ArrayRecord:
        """What its clients train and its inner strategy merges, see `join_part`."""
        return join_part(self.adapter, self.projector)


def join_part(adapter: ArrayRecord, projector: ArrayRecord | None) -> ArrayRecord:
    """One record of an adapter and its own projector, whose names then begin with `projector/`."""
    own = {f"{_OWN}{name}": array for name, array in (projector or {}).items()}
    return ArrayRecord({**adapter, **own})


def split_part(part: ArrayRecord) -> tuple[ArrayRecord, ArrayRecord | None]:
    """Undo `join_part`."""
    own = {name.removeprefix(_OWN): part[name] for name in part if name.startswith(_OWN)}
    adapter = {name: part[name] for name in part if not name.startswith(_OWN)}
    return ArrayRecord(adapter), ArrayRecord(own) if own else None


@dataclass(frozen=True)
class BankRecord:
    """Subspaces by ascending identifier and, if there is one, the projector."""

    subspaces: Mapping[int, SubspaceRecord] = field(default_factory=dict)
    projector: ArrayRecord | None = None


def read_bank(record: ArrayRecord) -> BankRecord:
    """Read a bank from its flat record; no key or only `projector/...` keys is the empty bank.

    Raises
    ------
    ModelError
        If a key is none of a bank's, a subspace lacks its adapter, token, count or first stage, or
        its token cannot be compared with the others'.
    """
    adapters: dict[int, dict[str, Array]] = defaultdict(dict)
    facts: dict[int, dict[str, Array]] = defaultdict(dict)
    own: dict[int, dict[str, Array]] = defaultdict(dict)
    projector: dict[str, Array] = {}
    for key, array in record.items():
        found = _KEY.fullmatch(key)
        if found is None:
            raise ModelError(
                f"The arrays hold {key!r}, which is no key of a bank; a bank has "
                "'subspace-000/adapter/...', 'subspace-000/token', 'subspace-000/count', "
                "'subspace-000/first-stage' and 'projector/...', and may have "
                "'subspace-000/projector/...', 'subspace-000/prototypes' and "
                "'subspace-000/prototype-counts'."
            )
        if found["projector"]:
            projector[found["projector"]] = array
        elif found["own"]:
            own[int(found["identifier"])][found["own"]] = array
        elif found["fact"]:
            facts[int(found["identifier"])][found["fact"]] = array
        else:
            adapters[int(found["identifier"])][found["parameter"]] = array

    subspaces = {}
    for identifier in sorted(adapters.keys() | facts.keys() | own.keys()):
        known = facts[identifier]
        missing = sorted({"token", "count", "first-stage"} - known.keys())
        missing += [] if adapters[identifier] else ["adapter/..."]
        if len({"prototypes", "prototype-counts"} & known.keys()) == 1:
            missing += sorted({"prototypes", "prototype-counts"} - known.keys())
        if missing:
            raise ModelError(
                f"Subspace {identifier} of the bank lacks {', '.join(missing)}; each needs its "
                "adapter, token, count and first-stage."
            )
        subspaces[identifier] = SubspaceRecord(
            identifier=identifier,
            adapter=ArrayRecord(adapters[identifier]),
            token=_token(known),
            first_stage=int(known["first-stage"].numpy()),
            projector=ArrayRecord(own[identifier]) if own[identifier] else None,
        )
    widths = [subspace.token.total.size for subspace in subspaces.values()]
    for subspace in subspaces.values():
        try:
            subspace.token.validate(widths[0])
        except DataError as error:
            raise ModelError(f"Subspace {subspace.identifier} of the bank: {error}") from error
    return BankRecord(subspaces, ArrayRecord(projector) if projector else None)


def _token(known: Mapping[str, Array]) -> IdentityToken:
    parts: tuple[IdentityToken, ...] = ()
    if "prototypes" in known:
        totals, counts = known["prototypes"].numpy(), known["prototype-counts"].numpy()
        parts = tuple(IdentityToken(t, int(n)) for t, n in zip(totals, counts, strict=True))
    return IdentityToken(known["token"].numpy(), int(known["count"].numpy()), parts)


def write_bank(bank: BankRecord) -> ArrayRecord:
    """Flat record of a bank; `read_bank(write_bank(bank))` is the same bank to the bit."""
    arrays: dict[str, Array] = {}
    for identifier, subspace in sorted(bank.subspaces.items()):
        prefix = f"subspace-{identifier:03d}"
        for parameter, array in subspace.adapter.items():
            arrays[f"{prefix}/adapter/{parameter}"] = array
        for parameter, array in (subspace.projector or {}).items():
            arrays[f"{prefix}/projector/{parameter}"] = array
        arrays[f"{prefix}/token"] = Array(subspace.token.total)
        arrays[f"{prefix}/count"] = Array(np.asarray(subspace.token.count, dtype=np.int64))
        arrays[f"{prefix}/first-stage"] = Array(np.asarray(subspace.first_stage, dtype=np.int64))
        parts = subspace.token.prototypes
        if parts:
            counts = np.asarray([part.count for part in parts], dtype=np.int64)
            arrays[f"{prefix}/prototypes"] = Array(np.stack([part.total for part in parts]))
            arrays[f"{prefix}/prototype-counts"] = Array(counts)
    for parameter, array in (bank.projector or {}).items():
        arrays[f"projector/{parameter}"] = array
    return ArrayRecord(arrays)
