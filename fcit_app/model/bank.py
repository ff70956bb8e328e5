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
    """

    identifier: int
    adapter: Arrays
    token: IdentityToken | None
    first_stage: int


@dataclass(frozen=True, eq=False)
class Bank:
    """The ordered subspaces and the projector.

    Parameters
    ----------
    subspaces : tuple[Subspace, ...]
        Empty for the plain base (``zero-shot``); one without token for ``finetune``.
    projector : Arrays or None
        The trained projector by wire name; None if the base's own is used.
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
            if subspace.token is not None:
                arrays[f"{prefix}/token"] = subspace.token.total
            facts.append(
                {
                    "identifier": subspace.identifier,
                    "count": None if subspace.token is None else int(subspace.token.count),
                    "first-stage": subspace.first_stage,
                }
            )
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
                    token = IdentityToken(rest.pop(f"{prefix}/token"), int(entry["count"]))
                adapter = _take(rest, f"{prefix}/adapter/")
                if not adapter:
                    raise ModelError(
                        f"The bank names subspace {identifier} but holds no adapter of it."
                    )
                subspaces.append(Subspace(identifier, adapter, token, int(entry["first-stage"])))
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
