"""One adapter for all tasks (`finetune`): any stock Flower strategy over one record."""

from __future__ import annotations

from flwr.app import ArrayRecord

from fcit_app.arrays import Arrays
from fcit_app.errors import ModelError
from strategies.records import ADAPTER, PROJECTOR, to_arrays, to_record


def initial_single(adapter: Arrays, projector: Arrays | None = None) -> ArrayRecord:
    """Global record of a single adapter and, if it is trained too, the projector.

    Parameters
    ----------
    adapter, projector : Arrays
        Parameter name to float32 array.

    Returns
    -------
    ArrayRecord
        Keys `adapter/<parameter>` and `projector/<parameter>`; one record, since Flower's
        strategies want exactly one.
    """
    arrays = {f"{ADAPTER}/{name}": array for name, array in adapter.items()}
    arrays |= {f"{PROJECTOR}/{name}": array for name, array in (projector or {}).items()}
    return to_record(arrays)


def split_single(record: ArrayRecord) -> tuple[Arrays, Arrays | None]:
    """Adapter and projector (None if there is none) of a record of `initial_single`.

    Raises
    ------
    ModelError
        If a key belongs to neither.
    """
    parts: dict[str, Arrays] = {ADAPTER: {}, PROJECTOR: {}}
    for key, array in to_arrays(record).items():
        part, _, name = key.partition("/")
        if part not in parts or not name:
            raise ModelError(
                f"The arrays hold {key!r}; a single adapter has 'adapter/...' and 'projector/...'."
            )
        parts[part][name] = array
    return parts[ADAPTER], parts[PROJECTOR] or None
