"""How a round's arrays travel: encoded and packed, and read again before anything judges them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, ConfigRecordValues, Message, RecordDict

from fcit_app.errors import ModelError
from fcit_app.parcel import PARCEL, checksum
from server_app.guard import expected, judge_values
from server_app.mirror import judge_mirror, judge_parcels
from server_app.sizes import array_bytes
from strategies.records import packed, unpacked

if TYPE_CHECKING:  # it imports torch
    from fcit_app.codec import Codec

CODEC = "codec"
"""Record that says how the arrays of a message are written."""


class WireError(Exception):
    """A reply cannot be read; says why."""


class Wire:
    """The way of one round's messages and replies.

    Each record travels as a parcel (``fcit_app.parcel``). Only what must come back is encoded: a
    method's memory travels as it is. With a codec clients send how far they moved; it is added to
    the float32 values that the strategy sent, so strategies and guard see float32 always, and what
    the way down takes from the values never enters the global model.

    Parameters
    ----------
    codec : {"none", "bf16", "int8"}
        With ``none`` values travel to the bit.
    feedback : bool
        Whether clients add to a change what the codec took from the former one.
    """

    def __init__(self, codec: Literal["none", "bf16", "int8"], feedback: bool = False) -> None:
        self._codec = codec
        self._feedback = feedback
        self._sent: dict[int, Message] = {}
        # Clients are sent the same records: by id, with the record itself, so that ids stay taken.
        self._coded: dict[int, tuple[ArrayRecord, ArrayRecord]] = {}
        self._parcels: dict[int, tuple[ArrayRecord, ArrayRecord]] = {}

    def encode(self, message: Message) -> Message:
        """Give the message to send instead; it shares the metadata, and so the id it is given."""
        records = dict(message.content.array_records)
        coded = {name: self._encoded(record) for name, record in expected(message).items()}
        parcels = {name: self._parcel(record) for name, record in (records | coded).items()}
        facts: dict[str, ConfigRecordValues] = {
            "name": self._codec,
            "records": list(coded),
            "checksum": _checksum(parcels),
        }
        if self._feedback:
            facts["feedback"] = True
        sent = copy.copy(message)
        sent.content = RecordDict({**message.content, **parcels, CODEC: ConfigRecord(facts)})
        self._sent[message.metadata.dst_node_id] = sent
        return sent

    def size(self, message: Message) -> int:
        """Bytes of arrays that travel for a message."""
        return array_bytes(self._sent.get(message.metadata.dst_node_id, message))

    def decode(self, sent: Message, reply: Message) -> Message:
        """Read a reply with content.

        Parameters
        ----------
        sent : Message
            The strategy's own message, as it was before ``encode``.
        reply : Message
            What came back of it.

        Returns
        -------
        Message
            Shallow copy whose records hold the clients' values, as if they had travelled as they
            are.

        Raises
        ------
        WireError
            If it holds no parcels, is in another codec, was damaged on the way, or its arrays are
            not encoded as those that were sent.
        """
        wanted = expected(sent)
        mine = self._sent[sent.metadata.dst_node_id].content.array_records
        problem = judge_parcels({name: mine[name][PARCEL] for name in wanted}, reply)
        if problem:
            raise WireError(problem)
        parcels = dict(reply.content.array_records)
        facts = reply.content.config_records.get(CODEC, ConfigRecord())
        if facts.get("name") != self._codec:
            raise WireError(f"its arrays are in codec {facts.get('name')!r}, not {self._codec!r}")
        if facts.get("checksum") != _checksum(parcels):
            raise WireError("its checksum is not its arrays': they were damaged on the way")
        read = copy.copy(reply)
        rest = {name: record for name, record in reply.content.items() if name != CODEC}
        found = {name: _opened(name, parcels[name], wanted[name]) for name in wanted}
        read.content = RecordDict({**rest, **found})
        if self._codec != "none":
            for name, record in self._moved(wanted, read).items():
                read.content[name] = record
        return read

    def _moved(self, starts: dict[str, ArrayRecord], reply: Message) -> dict[str, ArrayRecord]:
        """Add decoded changes to the values that they are changes of."""
        from fcit_app.codec import decode

        problem = judge_mirror({name: self._encoded(r) for name, r in starts.items()}, reply)
        if problem:
            raise WireError(problem)
        moved = {}
        for name, start in starts.items():
            record = reply.content.array_records[name]
            for key, array in record.items():
                problem = judge_values(array)
                if problem:
                    raise WireError(f"{name}: {key} {problem}")
            arrays = {key: array.numpy() for key, array in record.items()}
            with np.errstate(over="ignore", invalid="ignore"):  # the guard refuses what results
                change = decode(arrays, cast("Codec", self._codec))
                moved[name] = _record({key: a.numpy() + change[key] for key, a in start.items()})
        return moved

    def _encoded(self, record: ArrayRecord) -> ArrayRecord:
        if self._codec == "none":
            return record
        from fcit_app.codec import encode

        if id(record) not in self._coded:
            coded = encode({key: array.numpy() for key, array in record.items()}, self._codec)
            self._coded[id(record)] = (record, _record(coded))
        return self._coded[id(record)][1]

    def _parcel(self, record: ArrayRecord) -> ArrayRecord:
        if id(record) not in self._parcels:
            self._parcels[id(record)] = (record, packed(record))
        return self._parcels[id(record)][1]


def _opened(name: str, parcel: ArrayRecord, wanted: ArrayRecord) -> ArrayRecord:
    """Open a stranger's parcel: the keys that are wanted in their order, then all others."""
    problem = judge_values(parcel[PARCEL])
    if problem:
        raise WireError(f"{name}: the parcel {problem}")
    try:
        found = unpacked(parcel)
    except ModelError as error:
        raise WireError(f"{name}: {error}") from error
    return ArrayRecord({key: found[key] for key in (*wanted, *found) if key in found})


def _record(arrays: Mapping[str, Any]) -> ArrayRecord:
    return ArrayRecord({key: Array(array) for key, array in arrays.items()})


def _checksum(parcels: dict[str, ArrayRecord]) -> int:
    return checksum((name, record[PARCEL].data) for name, record in parcels.items())
