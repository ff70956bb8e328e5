"""A Flower mod: arrays come and go in the codec that the server writes them in."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from client_app.unsent import add_unsent, keep_unsent
from fcit_app.arrays import Arrays
from fcit_app.errors import ModelError

if TYPE_CHECKING:  # it imports torch
    from fcit_app.codec import Codec

_CODEC = "codec"


def coded(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Decode what was sent, and send back how far it was changed, encoded.

    A message without a record ``codec``, as any stock strategy's, passes as it is, and so does its
    reply. If it says ``feedback``, what encoding has taken from a change is added to the next one
    (``client_app.unsent``). The change and not the value is sent: it loses least, and what the way
    here took from the values is not taken from the global model.

    Raises
    ------
    ModelError
        If the arrays were damaged on the way.
    """
    settings = message.content.config_records.get(_CODEC)
    if settings is None:
        return call_next(message, context)
    from fcit_app.codec import decode

    codec, names = cast("Codec", settings["name"]), cast("list[str]", settings["records"])
    records = {name: message.content.array_records[name] for name in names}
    if _checksum(records) != settings["checksum"]:
        raise ModelError("The arrays in the message are not those sent: damaged on the way.")
    received = {name: decode(_arrays(record), codec) for name, record in records.items()}
    plain = copy.copy(message)
    plain.content = RecordDict(
        {name: record for name, record in message.content.items() if name != _CODEC}
        | {name: _record(arrays) for name, arrays in received.items()}
    )
    reply = call_next(plain, context)
    if reply.has_error():
        return reply
    changes = _changes(reply, received)
    if not settings.get("feedback", False):
        return _encoded(reply, changes, codec)
    place = _place(message)
    add_unsent(context.state, *place, changes)
    coded_reply = _encoded(reply, changes, codec)
    given = coded_reply.content.array_records
    sent = {name: decode(_arrays(given[name]), codec) for name in changes}
    keep_unsent(context.state, *place, changes, sent)
    return coded_reply


def _changes(reply: Message, received: dict[str, Arrays]) -> dict[str, Arrays]:
    """How far a reply's records are from what was received."""
    found = {}
    for name, start in received.items():
        trained = _arrays(reply.content.array_records[name])
        found[name] = {key: trained[key] - start[key] for key in start}
    return found


def _place(message: Message) -> tuple[int, int]:
    """Stage and subspace of a message; a strategy without subspaces has one."""
    config = message.content.config_records.get("config", ConfigRecord())
    stage, subspace = config.get("stage", 1), config.get("subspace", 0)
    return cast("int", stage), cast("int", subspace)


def _encoded(reply: Message, wanted: dict[str, Arrays], codec: Codec) -> Message:
    """Write changes in a codec, in place of a reply's records."""
    from fcit_app.codec import encode

    changes = {name: _record(encode(arrays, codec)) for name, arrays in wanted.items()}
    facts = ConfigRecord({"name": codec, "checksum": _checksum(changes)})
    coded_reply = copy.copy(reply)
    coded_reply.content = RecordDict({**reply.content, **changes, _CODEC: facts})
    return coded_reply


def _checksum(records: dict[str, ArrayRecord]) -> int:
    from fcit_app.codec import checksum

    return checksum(
        (f"{name}/{key}", array.data)
        for name, record in records.items()
        for key, array in record.items()
    )


def _arrays(record: ArrayRecord) -> Arrays:
    return {key: array.numpy() for key, array in record.items()}


def _record(arrays: Arrays) -> ArrayRecord:
    return ArrayRecord({key: Array(array) for key, array in arrays.items()})
