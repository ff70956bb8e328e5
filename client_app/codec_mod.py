"""A Flower mod: arrays come and go in the parcels and the codec that the server writes them in."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from client_app.unsent import add_unsent, keep_unsent
from fcit_app.arrays import Arrays
from fcit_app.errors import ModelError
from fcit_app.parcel import PARCEL, checksum, pack, unpack

if TYPE_CHECKING:  # it imports torch
    from fcit_app.codec import Codec

_CODEC = "codec"


def coded(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Unpack and decode what was sent; encode how far it was changed, and pack it.

    A message without a record ``codec``, as any stock strategy's in another ServerApp, passes as it
    is, and so does its reply. With codec ``none`` the new values are sent and not the change. If
    the record says ``feedback``, what encoding has taken from a change is added to the next one
    (``client_app.unsent``). The change is sent since it loses least, and since what the way here
    took from the values is not taken from the global model.

    Raises
    ------
    ModelError
        If the arrays were damaged on the way.
    """
    settings = message.content.config_records.get(_CODEC)
    if settings is None:
        return call_next(message, context)
    codec, names = cast("str", settings["name"]), cast("list[str]", settings["records"])
    parcels = dict(message.content.array_records)
    if _checksum(parcels) != settings["checksum"]:
        raise ModelError("The arrays in the message are not those sent: damaged on the way.")
    received = {name: unpack(record[PARCEL].numpy()) for name, record in parcels.items()}
    if codec != "none":
        received |= _decoded({name: received[name] for name in names}, cast("Codec", codec))
    plain = copy.copy(message)
    plain.content = RecordDict(
        {name: record for name, record in message.content.items() if name != _CODEC}
        | {name: _record(arrays) for name, arrays in received.items()}
    )
    reply = call_next(plain, context)
    if reply.has_error():
        return reply
    trained = {name: _arrays(reply.content.array_records[name]) for name in names}
    if codec == "none":
        return _packed(reply, trained, codec)
    return _changed(reply, trained, received, cast("Codec", codec), message, context)


def _changed(
    reply: Message,
    trained: dict[str, Arrays],
    received: dict[str, Arrays],
    codec: Codec,
    message: Message,
    context: Context,
) -> Message:
    """Pack how far arrays have moved, and keep for the next time what the codec takes from it."""
    from fcit_app.codec import encode

    changes = {
        name: {key: array - received[name][key] for key, array in arrays.items()}
        for name, arrays in trained.items()
    }
    feedback = message.content.config_records[_CODEC].get("feedback", False)
    if feedback:
        add_unsent(context.state, *_place(message), changes)
    sent = {name: encode(arrays, codec) for name, arrays in changes.items()}
    if feedback:
        keep_unsent(context.state, *_place(message), changes, _decoded(sent, codec))
    return _packed(reply, sent, codec)


def _place(message: Message) -> tuple[int, int]:
    """Stage and subspace of a message; a strategy without subspaces has one."""
    config = message.content.config_records.get("config", ConfigRecord())
    stage, subspace = config.get("stage", 1), config.get("subspace", 0)
    return cast("int", stage), cast("int", subspace)


def _decoded(records: dict[str, dict[str, Any]], codec: Codec) -> dict[str, Arrays]:
    from fcit_app.codec import decode

    return {name: decode(arrays, codec) for name, arrays in records.items()}


def _packed(reply: Message, records: dict[str, dict[str, Any]], codec: str) -> Message:
    """Copy of a reply with parcels in place of its records of these names."""
    parcels = {name: _record({PARCEL: pack(arrays)}) for name, arrays in records.items()}
    facts = ConfigRecord({"name": codec, "checksum": _checksum(parcels)})
    packed = copy.copy(reply)
    packed.content = RecordDict({**reply.content, **parcels, _CODEC: facts})
    return packed


def _checksum(parcels: dict[str, ArrayRecord]) -> int:
    return checksum((name, record[PARCEL].data) for name, record in parcels.items())


def _arrays(record: ArrayRecord) -> Arrays:
    return {key: array.numpy() for key, array in record.items()}


def _record(arrays: dict[str, Any]) -> ArrayRecord:
    return ArrayRecord({key: Array(array) for key, array in arrays.items()})
