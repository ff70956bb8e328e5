"""All that the server keeps of a method between rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fcit_app.arrays import Array, Arrays
from fcit_app.errors import ModelError


@dataclass(frozen=True, eq=False)
class State:
    """The global model of a method, and its memory.

    Parameters
    ----------
    stage : int
        The stage under way, from 1; 0 before the first.
    adapter : Arrays
        What is trained beside the projector, by wire name.
    projector : Arrays or None
        The projector by wire name; None if it is frozen.
    memory : Mapping[str, Arrays]
        What the method remembers of earlier stages; clients are sent it and never change it.
    """

    stage: int
    adapter: Arrays
    projector: Arrays | None = None
    memory: Mapping[str, Arrays] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def trained(self) -> Arrays:
        """Adapter and projector together, by wire name."""
        return self.adapter | (self.projector or {})


@dataclass(frozen=True, eq=False)
class Importance:
    """How much a client's answers depend on each trained value.

    Parameters
    ----------
    arrays : Arrays
        Wire name to values of 0 or more, of the trained parameters' shapes.
    samples : int
        Size of the client's shard, which they are a mean over.
    """

    arrays: Arrays
    samples: int


def flat_memory(memory: Mapping[str, Arrays]) -> Arrays:
    """Write a memory as flat arrays: keys `<name>/<parameter>`."""
    return {
        f"{name}/{parameter}": array
        for name, arrays in memory.items()
        for parameter, array in arrays.items()
    }


def read_memory(arrays: Mapping[str, Array]) -> dict[str, Arrays]:
    """Undo ``flat_memory``.

    Raises
    ------
    ModelError
        If a key has no name before its parameter.
    """
    memory: dict[str, Arrays] = {}
    for key, array in arrays.items():
        name, _, parameter = key.partition("/")
        if not name or not parameter:
            raise ModelError(f"The memory holds {key!r}; its keys are '<name>/<parameter>'.")
        memory.setdefault(name, {})[parameter] = array
    return memory
