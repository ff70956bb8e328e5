"""Hashes of what a bank has learned, so that a change, or its absence, can be proved later."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from fcit_app.arrays import Arrays
from fcit_app.model.bank import Bank


def bank_hashes(bank: Bank) -> dict[str, Any]:
    """SHA-256 of each subspace and of the shared projector, as JSON.

    Returns
    -------
    dict
        ``subspaces``: identifier as text to the hash of adapter and own projector (identity tokens
        only choose, and are left out); ``projector``: hash, or None without a shared one.
    """
    return {
        "subspaces": {
            str(subspace.identifier): arrays_hash(
                subspace.adapter
                | {f"projector/{name}": a for name, a in (subspace.projector or {}).items()}
            )
            for subspace in bank.subspaces
        },
        "projector": None if bank.projector is None else arrays_hash(bank.projector),
    }


def arrays_hash(arrays: Arrays) -> str:
    """SHA-256, in hexadecimal, over names, shapes and float32 values, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], dtype=np.float32)
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()
