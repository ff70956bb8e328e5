"""How a round's arrays travel: written in a codec, and read again before anything judges them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, ConfigRecordValues, Message, RecordDict

from server_app.guard import expected, judge_values
from server_app.mirror import judge_mirror
from server_app.sizes import array_bytes

if TYPE_CHECKING:  # it imports torch
    from fcit_app.codec import Codec

CODEC = "codec"
"""Record that says how the arrays of a message are written."""


class WireError(Exception):
    """A reply cannot be read; says why."""


class Wire:
    """The way of one round's messages and replies.

    Only what must come back is encoded: a method's memory travels as it is. Clients send how far
    they moved; it is added to the float32 values that the strategy sent, so strategies and guard
    see float32 always, and what the way down takes from the values never enters the global model.

    Parameters
    ----------
    codec : {"none", "bf16", "int8"}
        With ``none`` everything passes as it is.
    feedback : bool
        Whether clients add to a change what the codec took from the former one.
    """

    def __init__(self, codec: Literal["none", "bf16", "int8"], feedback: bool = False) -> None:
        self._codec = codec
        self._feedback = feedback
        self._coded: dict[int, Message] = {}
        # Clients are sent the same records: by id, with the record itself, so that ids stay taken.
        self._known: dict[int, tuple[ArrayRecord, ArrayRecord]] = {}

    def encode(self, message: Message) -> Message:
        """Give the message to send instead; it shares the metadata, and so the id it is given."""
        if self._codec == "none":
            return message
        records = {name: self._encoded(r) for name, r in expected(message).items()}
        facts: dict[str, ConfigRecordValues] = {
            "name": self._codec,
            "records": list(records),
            "checksum": _checksum(records),
        }
        if self._feedback:
            facts["feedback"] = True
        coded = copy.copy(message)
        coded.content = RecordDict({**message.content, **records, CODEC: ConfigRecord(facts)})
        self._coded[message.metadata.dst_node_id] = coded
        return coded

    def size(self, message: Message) -> int:
        """Bytes of arrays that travel for a message."""
        return array_bytes(self._coded.get(message.metadata.dst_node_id, message))

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
            Shallow copy whose records hold float32 values, as if no codec had been used.

        Raises
        ------
        WireError
            If it does not mirror what was sent, is in another codec, or was damaged on the way.
        """
        if self._codec == "none":
            return reply
        from fcit_app.codec import decode

        coded = expected(self._coded[sent.metadata.dst_node_id])
        problem = judge_mirror(coded, reply)
        if problem:
            raise WireError(problem)
        records = reply.content.array_records
        facts = reply.content.config_records.get(CODEC, ConfigRecord())
        if facts.get("name") != self._codec:
            raise WireError(f"its arrays are in codec {facts.get('name')!r}, not {self._codec!r}")
        if facts.get("checksum") != _checksum(dict(records)):
            raise WireError("its checksum is not its arrays': they were damaged on the way")
        plain = {}
        for name, start in expected(sent).items():
            for key, array in records[name].items():
                problem = judge_values(array)
                if problem:
                    raise WireError(f"{name}: {key} {problem}")
            arrays = {key: array.numpy() for key, array in records[name].items()}
            with np.errstate(over="ignore", invalid="ignore"):  # the guard refuses what results
                change = decode(arrays, self._codec)
                plain[name] = ArrayRecord(
                    {key: Array(array.numpy() + change[key]) for key, array in start.items()}
                )
        read = copy.copy(reply)
        rest = {name: record for name, record in reply.content.items() if name != CODEC}
        read.content = RecordDict({**rest, **plain})
        return read

    def _encoded(self, record: ArrayRecord) -> ArrayRecord:
        from fcit_app.codec import encode

        if id(record) not in self._known:
            arrays = {key: array.numpy() for key, array in record.items()}
            coded = encode(arrays, cast("Codec", self._codec))
            found = ArrayRecord({key: Array(array) for key, array in coded.items()})
            self._known[id(record)] = (record, found)
        return self._known[id(record)][1]


def _checksum(records: dict[str, ArrayRecord]) -> int:
    from fcit_app.codec import checksum

    return checksum(
        (f"{name}/{key}", array.data)
        for name, record in records.items()
        for key, array in record.items()
    )
