"""Does a reply mirror what was sent: judged by what it announces, before anything is unpacked."""

from __future__ import annotations

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord

from fcit_app.parcel import PARCEL

LARGEST_HEADER = 1024
"""Bytes that an array may take beyond those of the array sent; NumPy's own header has 128."""

LARGEST_REST = 2**20
"""Bytes of all that is no array in a reply: metrics and settings."""


def judge_mirror(sent: dict[str, ArrayRecord], reply: Message) -> str | None:
    """Say in what the records of a reply are not those sent, or None.

    Parameters
    ----------
    sent : dict[str, ArrayRecord]
        Name to record, of all that must come back.
    reply : Message
        What came back, with content.

    Returns
    -------
    str or None
        Other records, other keys, another shape, dtype or size, or too much beside the arrays.
    """
    found = reply.content.array_records
    if set(sent) != set(found):
        return f"array records {sorted(found)} instead of {sorted(sent)}"
    for name, record in sent.items():
        problem = judge_names(record, found[name])
        if problem:
            return f"{name}: {problem}"
    for name, record in sent.items():
        for key, array in record.items():
            problem = judge_announced(array, found[name][key])
            if problem:
                return f"{name}: {key} {problem}"
    size = sum(_size(record) for record in reply.content.metric_records.values())
    size += sum(_size(record) for record in reply.content.config_records.values())
    if size > LARGEST_REST:
        return f"{size} bytes of metrics and settings, more than {LARGEST_REST}"
    return None


def judge_parcels(sent: dict[str, Array], reply: Message) -> str | None:
    """Say why the records of a reply are not to be unpacked, or None.

    Parameters
    ----------
    sent : dict[str, Array]
        Name to the parcel sent, of all records that must come back.
    reply : Message
        What came back, with content.

    Returns
    -------
    str or None
        Other records, something that is no parcel, or one that is much larger than the one sent.
    """
    found = reply.content.array_records
    if set(sent) != set(found):
        return f"array records {sorted(found)} instead of {sorted(sent)}"
    for name, parcel in sent.items():
        if set(found[name]) != {PARCEL}:
            return f"{name}: {len(found[name])} arrays that are no parcel"
        array = found[name][PARCEL]
        if array.dtype != "uint8" or len(array.shape) != 1:
            return f"{name}: the parcel has dtype {array.dtype} and shape {tuple(array.shape)}"
        most = len(parcel.data) + LARGEST_HEADER
        if len(array.data) > most:
            return f"{name}: the parcel has {len(array.data)} bytes, more than {most}"
    return None


def judge_names(wanted: ArrayRecord, found: ArrayRecord) -> str | None:
    """Say which keys a record lacks or has too many, or None."""
    for kind, keys in (("misses", set(wanted) - set(found)), ("adds", set(found) - set(wanted))):
        if keys:
            return f"the reply {kind} {len(keys)} keys, first {min(keys)}"
    return None


def judge_announced(wanted: Array, found: Array) -> str | None:
    """Say in what an array's shape, dtype or size are not the wanted one's, or None."""
    shape, dtype = tuple(wanted.shape), wanted.dtype
    if tuple(found.shape) != shape:
        return f"has shape {tuple(found.shape)} instead of {shape}"
    if found.dtype != dtype:
        return f"has dtype {found.dtype} instead of {dtype}"
    most = len(wanted.data) + LARGEST_HEADER
    if len(found.data) > most:
        return f"has {len(found.data)} bytes, more than {most}"
    return None


def _size(record: MetricRecord | ConfigRecord) -> int:
    """Bytes of a stranger's record; Flower's own count fails on empty text."""
    values = [
        v for value in record.values() for v in (value if isinstance(value, list) else [value])
    ]
    texts = sum(len(value) for value in values if isinstance(value, (str, bytes)))
    return sum(len(key) for key in record) + 8 * len(values) + texts
