"""What a worker takes and gives as bytes: JSON for the structure, safetensors for the arrays.

No pickle: reading a message can make plain values, arrays and our own dataclasses and errors, and
nothing else. Numbers come back to the bit.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from fcit_app.errors import FcitError, reason_of

Frames = tuple[bytes, bytes]
"""JSON text and safetensors file of one value."""

_OURS = ("client_app", "fcit_app")
_PLAIN = (type(None), bool, int, float, str)


def encode(value: object) -> Frames:
    """Write a value.

    Parameters
    ----------
    value : object
        None, truth values, numbers, texts, paths, numpy arrays and scalars, dataclasses of our
        packages, and lists, tuples and mappings of these.

    Raises
    ------
    TypeError
        If there is anything else in it; names the type.
    """
    arrays: list[np.ndarray[Any, Any]] = []
    text = json.dumps(_tree(value, arrays))
    return text.encode(), save({str(place): array for place, array in enumerate(arrays)})


def decode(frames: Frames) -> Any:
    """Undo ``encode``; arrays may be written to, mappings are dictionaries."""
    # copies: what safetensors gives is read-only
    arrays = {int(place): array.copy() for place, array in load(frames[1]).items()}
    return _value(json.loads(frames[0]), arrays)


def to_json(value: object) -> str:
    """Write a value that has no arrays in it as one text; see ``encode``."""
    text, arrays = encode(value)
    if load(arrays):
        raise TypeError("arrays cannot be written as text")
    return text.decode()


def from_json(text: str) -> Any:
    """Undo ``to_json``."""
    return _value(json.loads(text), {})


def encode_error(error: Exception) -> Frames:
    """Write an error: one of ours as it is, any other as its name and text."""
    if not isinstance(error, FcitError):
        return encode(("", reason_of(error), {}))
    return encode((_path_of(type(error)), str(error), vars(error)))


def decode_error(frames: Frames) -> Exception:
    """Undo ``encode_error``; an error that is not ours becomes a ``RuntimeError``."""
    path, text, fields = decode(frames)
    if not path:
        return RuntimeError(text)
    kind = _class_at(path)
    if not issubclass(kind, FcitError):
        raise TypeError(f"{path} is no error of ours")
    # its constructor would word the text anew
    error: FcitError = kind.__new__(kind)
    Exception.__init__(error, text)
    vars(error).update(fields)
    return error


def _tree(value: object, arrays: list[np.ndarray[Any, Any]]) -> object:
    """Give JSON: a plain value as itself, any other as a list that begins with its kind."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return [type(value).__name__, *(_tree(part, arrays) for part in value)]
    if isinstance(value, Mapping):
        pairs = [[_tree(key, arrays), _tree(part, arrays)] for key, part in value.items()]
        return ["dict", *pairs]
    if isinstance(value, np.ndarray | np.generic):
        # safetensors writes memory as it lies: a transposed view would be garbled
        arrays.append(np.array(value, order="C"))
        return ["scalar" if isinstance(value, np.generic) else "array", len(arrays) - 1]
    if isinstance(value, Path):
        return ["path", str(value)]
    if dataclasses.is_dataclass(value) and _is_ours(type(value).__module__):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        parts = {name: _tree(getattr(value, name), arrays) for name in names}
        return ["dataclass", _path_of(type(value)), parts]
    kind = type(value)
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} cannot be sent to a resident worker")


def _value(tree: Any, arrays: Mapping[int, np.ndarray[Any, Any]]) -> Any:
    if not isinstance(tree, list):
        return tree
    kind, *parts = tree
    if kind in ("list", "tuple"):
        values = (_value(part, arrays) for part in parts)
        return list(values) if kind == "list" else tuple(values)
    if kind == "dict":
        return {_value(key, arrays): _value(part, arrays) for key, part in parts}
    if kind == "array":
        return arrays[parts[0]]
    if kind == "scalar":
        return arrays[parts[0]][()]
    if kind == "path":
        return Path(parts[0])
    made = _class_at(parts[0])
    if kind != "dataclass" or not dataclasses.is_dataclass(made):
        raise TypeError(f"{parts[0]} is no dataclass of ours")
    return made(**{name: _value(part, arrays) for name, part in parts[1].items()})


def _path_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _class_at(path: str) -> type:
    module, _, name = path.partition(":")
    found = getattr(importlib.import_module(module), name, None) if _is_ours(module) else None
    if not isinstance(found, type):
        raise TypeError(f"{path} is no class of ours")
    return found


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in _OURS
