"""The bank: every subspace learned so far and the projector, that is the model without the base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fcit_app.arrays import Array, Arrays
from fcit_app.errors import ModelError
from fcit_app.identity.tokens import IdentityToken

_FORMAT = "fcit-bank-1"


@dataclass(frozen=True, eq=False)
class Subspace:
    """One LoRA adapter and the identity of the instructions it was trained on.

    Parameters
    ----------
    identifier : int
        Its number, given once and never again.
    adapter : Arrays
        All LoRA matrices by wire name.
    token : IdentityToken or None
        Its global identity token; None where the method knows no tokens (``finetune``).
    first_stage : int
        Stage that opened it, from 1.
    projector : Arrays or None
        The projector of its own by wire name (``projector = per-subspace``); None without one.
    """

    identifier: int
    adapter: Arrays
    token: IdentityToken | None
    first_stage: int
    projector: Arrays | None = None


@dataclass(frozen=True, eq=False)
class Bank:
    """The ordered subspaces and the projector.

    Parameters
    ----------
    subspaces : tuple[Subspace, ...]
        Empty for the plain base (``zero-shot``); one without token for ``finetune``.
    projector : Arrays or None
        The projector by wire name of subspaces that have none of their own; None for the base's.
    """

    subspaces: tuple[Subspace, ...] = ()
    projector: Arrays | None = field(default=None)

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        """Flat arrays with readable keys, and the facts that go into a JSON file next to them.

        A subspace is numbered by its identifier, as in the record that Flower's strategies see.
        """
        arrays: Arrays = {}
        facts = []
        for subspace in self.subspaces:
            prefix = f"subspace-{subspace.identifier:03d}"
            for name, array in subspace.adapter.items():
                arrays[f"{prefix}/adapter/{name}"] = array
            for name, array in (subspace.projector or {}).items():
                arrays[f"{prefix}/projector/{name}"] = array
            fact: dict[str, Any] = {
                "identifier": subspace.identifier,
                "count": None if subspace.token is None else int(subspace.token.count),
                "first-stage": subspace.first_stage,
            }
            if subspace.token is not None:
                arrays[f"{prefix}/token"] = subspace.token.total
            if subspace.token is not None and subspace.token.prototypes:
                parts = subspace.token.prototypes
                arrays[f"{prefix}/prototypes"] = np.stack([part.total for part in parts])
                fact["prototype-counts"] = [int(part.count) for part in parts]
            facts.append(fact)
        for name, array in (self.projector or {}).items():
            arrays[f"projector/{name}"] = array
        has_projector = self.projector is not None
        return arrays, {"format": _FORMAT, "subspaces": facts, "projector": has_projector}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> Bank:
        """Undo ``to_arrays``.

        Raises
        ------
        ModelError
            If arrays and facts do not belong together.
        """
        if facts.get("format") != _FORMAT:
            raise ModelError(f"The bank has format '{facts.get('format')}'; known is '{_FORMAT}'.")
        rest = {name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()}
        subspaces = []
        try:
            for entry in facts["subspaces"]:
                identifier = int(entry["identifier"])
                prefix = f"subspace-{identifier:03d}"
                token = None
                if entry["count"] is not None:
                    counts = [int(count) for count in entry.get("prototype-counts", ())]
                    rows = list(rest.pop(f"{prefix}/prototypes")) if counts else []
                    parts = tuple(IdentityToken(r, n) for r, n in zip(rows, counts, strict=True))
                    token = IdentityToken(rest.pop(f"{prefix}/token"), int(entry["count"]), parts)
                adapter = _take(rest, f"{prefix}/adapter/")
                if not adapter:
                    raise ModelError(
                        f"The bank names subspace {identifier} but holds no adapter of it."
                    )
                own = _take(rest, f"{prefix}/projector/") or None
                first_stage = int(entry["first-stage"])
                subspaces.append(Subspace(identifier, adapter, token, first_stage, own))
            projector = _take(rest, "projector/") if facts["projector"] else None
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"The bank's description lacks or garbles {error}.") from error
        if rest:
            raise ModelError(f"The bank holds arrays that it does not name: '{min(rest)}'.")
        return cls(tuple(subspaces), projector)


def _take(arrays: Arrays, prefix: str) -> Arrays:
    """Remove the arrays under a prefix, and give them without it."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}
