"""State of aggregators as JSON and arrays, without pickle: Flower's own, and anybody's.

A strategy keeps its state in attributes: numpy arrays, Flower's records, numbers, text, None, and
lists, tuples, sets and dictionaries of them. A class that keeps anything else gives its state
itself: ``state_dict()`` returns such values, and ``load_state_dict(state)`` takes them back.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp.strategy import Strategy

from fcit_app.errors import RunFolderError

_SETTINGS = (FunctionType, BuiltinFunctionType, MethodType, functools.partial, type)
"""What a constructor sets and training does not change: no state."""

_NUMBERS = frozenset("?bhilqBHILQefd")
"""Type codes of numpy that a safetensors file can hold."""

_HOW = (
    "Keep state in numpy arrays, Flower's records, numbers, text, None, and lists, tuples, sets "
    "and dictionaries of them, or give the class state_dict() and load_state_dict(state)"
)


@runtime_checkable
class Stateful(Protocol):
    """A class that gives and takes its state itself."""

    def state_dict(self) -> Mapping[str, Any]:
        """Give the state, in values that can be kept."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the state of another instance of the same class and arguments."""


@dataclass
class Packed:
    """Values as JSON and arrays.

    Parameters
    ----------
    tree : Any
        JSON; refers to arrays by name.
    arrays : dict[str, numpy.ndarray]
        Name to array.
    lost : list[str]
        Where something could not be kept, and what.
    """

    tree: Any = None
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Nested:
    """State of a strategy that another one holds; it is put into the one that is there."""

    state: Any


def state_of(strategy: object) -> Mapping[str, Any]:
    """Give a strategy's state: its own ``state_dict``, its attributes if it has none."""
    if isinstance(strategy, Stateful):
        return strategy.state_dict()
    return {k: v for k, v in vars(strategy).items() if not isinstance(v, _SETTINGS)}


def restore(strategy: object, state: Mapping[str, Any]) -> None:
    """Put a state into a fresh instance of the same class and arguments."""
    if isinstance(strategy, Stateful):
        strategy.load_state_dict(state)
        return
    for name, value in state.items():
        if isinstance(value, _Nested):
            restore(getattr(strategy, name), value.state)
        else:
            setattr(strategy, name, value)


def unkeepable(strategy: object) -> list[str]:
    """Say what of a strategy's state cannot be kept now; one sentence each, with the mend."""
    lost = pack(state_of(strategy)).lost
    return [
        f"{type(strategy).__name__} holds {what}, which cannot be saved. {_HOW}" for what in lost
    ]


def pack(value: object) -> Packed:
    """Write values as JSON and arrays; what cannot be kept is named and left out.

    Dictionaries keep order and keys of any kind; an array that occurs twice stays one array.
    """
    packed = Packed()
    packed.tree = _Packer(packed).pack(value, "")
    return packed


def unpack(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Undo ``pack``, to the bit and type.

    Raises
    ------
    RunFolderError
        If the tree is not one of ``pack``'s.
    """
    try:
        return _Unpacker(arrays).unpack(tree)
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(f"A saved state of an aggregator lacks or garbles {error}.") from error


class _Packer:
    def __init__(self, packed: Packed) -> None:
        self._packed = packed
        self._names: dict[int, str] = {}
        self._held: list[object] = []  # ids are reused once their objects are gone

    def pack(self, value: Any, path: str) -> Any:
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list:
            return self._all(value, path)
        if kind in (tuple, set, frozenset):
            # A set of numbers or text has an order of its own; sorted, equal sets are equal files.
            members = sorted(value, key=repr) if kind is not tuple else value
            return {kind.__name__: self._all(members, path)}
        if kind is dict:
            return {"dict": self._pairs(value, path)}
        if kind is np.ndarray and value.dtype.char in _NUMBERS and value.dtype.isnative:
            return {"array": self._array(value)}
        if isinstance(value, np.generic) and value.dtype.char in _NUMBERS:
            return {"scalar": self._array(np.asarray(value))}
        if kind is ArrayRecord:
            return {"arrays": [[k, self._array(a.numpy())] for k, a in value.items()]}
        if kind is Array:
            return {"flower-array": self._array(value.numpy())}
        if kind in (MetricRecord, ConfigRecord):
            return {kind.__name__: self._pairs(dict(value), path)}
        if kind is bytes:
            return {"bytes": value.hex()}
        if isinstance(value, Strategy):
            return {"strategy": self.pack(dict(state_of(value)), path)}
        self._packed.lost.append(f"{path or 'a value'} ({kind.__name__})")
        return {"lost": kind.__name__}

    def _all(self, values: Any, path: str) -> list[Any]:
        return [self.pack(value, f"{path}[{place}]") for place, value in enumerate(values)]

    def _pairs(self, values: Mapping[Any, Any], path: str) -> list[Any]:
        kept = []
        for key, value in values.items():
            packed = self.pack(value, f"{path}.{key}" if path else str(key))
            if not (isinstance(packed, dict) and "lost" in packed):
                kept.append([self.pack(key, f"{path}: a key"), packed])
        return kept

    def _array(self, array: np.ndarray) -> list[str]:
        """Name of the array, and how it lies in memory: sums over it go by that."""
        if id(array) not in self._names:
            name = f"{len(self._packed.arrays):05d}"
            self._names[id(array)] = name
            self._held.append(array)
            self._packed.arrays[name] = array
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        return [self._names[id(array)], "F" if fortran else "C"]


class _Unpacker:
    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._made: dict[str, np.ndarray] = {}
        self._kinds: Mapping[str, Callable[[Any], Any]] = {
            "float": float,
            "tuple": lambda body: tuple(self._all(body)),
            "set": lambda body: set(self._all(body)),
            "frozenset": lambda body: frozenset(self._all(body)),
            "dict": self._pairs,
            "array": self._array,
            "scalar": lambda body: self._array(body)[()],
            "arrays": lambda body: ArrayRecord({k: Array(self._array(a)) for k, a in body}),
            "flower-array": lambda body: Array(self._array(body)),
            "MetricRecord": lambda body: MetricRecord(self._pairs(body)),
            "ConfigRecord": lambda body: ConfigRecord(self._pairs(body)),
            "bytes": bytes.fromhex,
            "strategy": lambda body: _Nested(self.unpack(body)),
            "lost": lambda body: None,
        }

    def unpack(self, tree: Any) -> Any:
        if isinstance(tree, list):
            return self._all(tree)
        if not isinstance(tree, dict):
            return tree
        ((kind, body),) = tree.items()
        return self._kinds[kind](body)

    def _all(self, body: Any) -> list[Any]:
        return [self.unpack(value) for value in body]

    def _pairs(self, body: Any) -> dict[Any, Any]:
        return {self.unpack(key): self.unpack(value) for key, value in body}

    def _array(self, body: Any) -> np.ndarray:
        name, order = body
        if name not in self._made:
            self._made[name] = np.array(self._arrays[name], order=cast(Any, order))
        return self._made[name]
