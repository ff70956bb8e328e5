"""Parcels: the many arrays of a record as one, on the way between server and clients.

Flower sends each array by itself, as an object with a name and requests of its own: some 5 kB and
two turns of the network an array, of which a record of LLaVA-1.5-7B has 196. A parcel is the
record in the form of a safetensors file, which holds numbers and no code, in one array of bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fcit_app.errors import ModelError

PARCEL = "safetensors"
"""Name of the only array in a record that is a parcel."""


def pack(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """Put named arrays of numbers into one array of bytes, shape (bytes,)."""
    return np.frombuffer(save({n: np.asarray(a, order="C") for n, a in arrays.items()}), np.uint8)


def unpack(parcel: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Undo ``pack``, to the bit; the names come in alphabetical order.

    Raises
    ------
    ModelError
        If it is no parcel. Whatever the bytes are, none of them is run, and what comes out is not
        larger than what went in.
    """
    try:
        found = load(parcel.tobytes())
    # what safetensors says itself, and what its reading of odd dtypes and shapes raises
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"The parcel of arrays cannot be read ({error}).") from error
    return {name: found[name] for name in sorted(found)}


def checksum(pieces: Iterable[tuple[str, bytes]]) -> int:
    """CRC-32 of named bytes, whatever their order: finds damage, and no forgery."""
    value = 0
    for name, data in sorted(pieces):
        value = zlib.crc32(data, zlib.crc32(name.encode(), value))
    return value
