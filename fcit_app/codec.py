"""Codecs: float32 arrays in fewer bytes, for the way between server and clients.

``bf16`` rounds each value to its 8 leading bits. ``int8`` keeps a whole number from -127 to 127 for
each value and a scale for each row, where rows are counted along the shorter side: each of a LoRA
matrix's rank vectors has one scale. What is aggregated is float32 always.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fcit_app.arrays import Array, Arrays

Codec = Literal["bf16", "int8"]

SCALES = "scales/"
"""Before an array's name: its rows' scales, beside the whole numbers of ``int8``."""

_LARGEST = 127.0


def encode(arrays: Mapping[str, Array], codec: Codec) -> dict[str, NDArray[Any]]:
    """Write arrays in a codec.

    Parameters
    ----------
    arrays : Mapping[str, Array]
        Name to float32 array of any shape, finite for ``int8``.
    codec : {"bf16", "int8"}
        The codec.

    Returns
    -------
    dict[str, numpy.ndarray]
        Name to array of the same shape: the bits as uint16 (``bf16``), or int8 with, under
        ``scales/`` and the name, the rows' float32 scales. The error of a value is at most 2^-8 of
        it, or half its row's scale, which is the row's largest size over 127.
    """
    if codec == "bf16":
        return {name: _to_bf16(array) for name, array in arrays.items()}
    encoded: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        encoded[name], encoded[SCALES + name] = _to_int8(array)
    return encoded


def decode(encoded: Mapping[str, NDArray[Any]], codec: Codec) -> Arrays:
    """Undo ``encode`` to within its error: name to float32 array."""
    if codec == "bf16":
        return {name: _from_bf16(array) for name, array in encoded.items()}
    return {
        name: _from_int8(array, encoded[SCALES + name])
        for name, array in encoded.items()
        if not name.startswith(SCALES)
    }


def _to_bf16(array: Array) -> NDArray[Any]:
    bits: NDArray[Any] = torch.tensor(array).to(torch.bfloat16).view(torch.uint16).numpy()
    return bits


def _from_bf16(bits: NDArray[Any]) -> Array:
    values: Array = torch.tensor(bits).view(torch.bfloat16).to(torch.float32).numpy()
    return values


def _to_int8(array: Array) -> tuple[NDArray[np.int8], Array]:
    rows = _rows(array)
    scales = np.abs(rows).max(axis=1, initial=0.0) / np.float32(_LARGEST)
    # A row of zeros, or of numbers too small for a scale, becomes zeros.
    steps = rows / np.where(scales > 0, scales, np.inf)[:, None]
    whole = np.clip(np.rint(steps), -_LARGEST, _LARGEST).astype(np.int8)
    return _unrows(whole, array.shape), scales.astype(np.float32)


def _from_int8(whole: NDArray[np.int8], scales: Array) -> Array:
    rows = _rows(whole).astype(np.float32) * scales[:, None]
    return _unrows(rows, whole.shape)


def _rows(array: NDArray[Any]) -> NDArray[Any]:
    """Matrix of an array, with no more rows than columns; one row unless it has two dimensions."""
    matrix = array.reshape(array.shape[0] if array.ndim > 1 and array.size else 1, -1)
    return matrix.T if matrix.shape[0] > matrix.shape[1] > 0 else matrix


def _unrows(rows: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Undo ``_rows``."""
    high = len(shape) > 1 and rows.size and shape[0] != rows.shape[0]
    return np.ascontiguousarray(rows.T if high else rows).reshape(shape)
