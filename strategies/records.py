"""Between Flower's records and named float32 arrays."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from fcit_app.arrays import Arrays
from fcit_app.parcel import PARCEL, pack, unpack

ADAPTER = "adapter"
PROJECTOR = "projector"
MEMORY = "memory"
"""Record that clients are sent and do not send back: what a method remembers."""
IMPORTANCE = "importance"
METRICS = "metrics"
CONFIG = "config"
NUM_EXAMPLES = "num-examples"
CLIENT = "client"


def to_record(arrays: Mapping[str, NDArray[np.generic]]) -> ArrayRecord:
    """Flower's record of named arrays, cast to float32, in the order given."""
    return ArrayRecord(
        {name: Array(np.asarray(array, dtype=np.float32)) for name, array in arrays.items()}
    )


def to_arrays(record: ArrayRecord) -> Arrays:
    """Named float32 arrays of Flower's record, in its order."""
    return {name: np.asarray(array.numpy(), dtype=np.float32) for name, array in record.items()}


def packed(record: ArrayRecord) -> ArrayRecord:
    """Make a record of one array, a parcel of all of a record's (see `fcit_app.parcel`)."""
    return ArrayRecord({PARCEL: Array(pack({key: array.numpy() for key, array in record.items()}))})


def unpacked(record: ArrayRecord) -> ArrayRecord:
    """Undo `packed`; the keys come in alphabetical order.

    Raises
    ------
    ModelError
        If the record's parcel is damaged.
    """
    arrays = unpack(record[PARCEL].numpy())
    return ArrayRecord({key: Array(array) for key, array in arrays.items()})


def part_of(
    message: Message,
    record_name: str,
    metrics: MetricRecord,
    names: Iterable[str] | None = None,
) -> Message:
    """Shallow copy of a reply that holds one of its records, as a stock strategy expects it.

    Parameters
    ----------
    message : Message
        Reply with an ArrayRecord called `record_name`; left as it is, even by strategies that empty
        the records they are given (Flower's FedMedian and FedTrimmedAvg do).
    record_name : str
        The part to keep.
    metrics : MetricRecord
        Metrics to hand on; copied.
    names : Iterable[str], optional
        Array names in the order wanted (FedAvgM and Krum go by position); the record's if None.

    Returns
    -------
    Message
        Same metadata; content `{"arrays": ArrayRecord, "metrics": MetricRecord}`.
    """
    record = message.content.array_records[record_name]
    arrays = ArrayRecord({name: record[name] for name in (record if names is None else names)})
    part = copy.copy(message)
    part.content = RecordDict({"arrays": arrays, METRICS: metrics.copy()})
    return part
