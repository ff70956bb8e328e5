"""A codec on the way: what strategies see, what it costs, and what damage does."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from fake_federation import FakeFederation, altering, bits, fake_app, inside
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from in_process_grid import InProcessGrid
from transformers import LlavaConfig

from client_app.codec_mod import coded
from fcit_app.config import parse
from fcit_app.config.presets import PRESETS
from fcit_app.model.sizes import LLAVA_15_7B, model_sizes
from fcit_app.parcel import PARCEL, unpack
from server_app.wire import CODEC, Wire

BAD = 3
CODECS = ("bf16", "int8")


def topic(client, stage):
    return 0


def distance(one, other):
    """Largest difference over all arrays."""
    return max(float(np.abs(one[k].numpy() - other[k].numpy()).max()) for k in one)


@pytest.mark.parametrize("codec", CODECS)
def test_a_round_with_a_codec_is_near_the_round_without(tmp_path, codec):
    plain = FakeFederation(tmp_path / "plain", fake_app(topic))
    rounded = FakeFederation(tmp_path / "coded", fake_app(topic), codec=codec)
    for number in (1, 2, 3):
        expected, found = plain.round(number), rounded.round(number)
        # Steps are some 0.05 a round, bf16 errs by 2^-9 of them and int8 by 1/254 of a row's
        # largest. That values of size 1 are sent down shows nowhere.
        assert distance(found, expected) < number * {"bf16": 5e-4, "int8": 1e-3}[codec]
    assert {array.dtype for array in found.values()} == {"float32", "int64"}
    assert rounded.events("client-rejected") == []


def test_without_a_codec_values_travel_to_the_bit():
    record = ArrayRecord({"b": Array(np.float32([[0.1, -1e-42]])), "a": Array(np.array(7))})
    grid, content = InProcessGrid(echo(), 1), RecordDict({"adapter": record})
    message, wire = Message(content, 1000, "train"), Wire("none")
    coded_message = wire.encode(message)
    assert set(coded_message.content["adapter"]) == {PARCEL}
    (reply,) = grid.send_and_receive([coded_message])
    found = wire.decode(message, reply).content["adapter"]
    assert list(found) == list(record)
    assert {k: a.data for k, a in found.items()} == {k: a.data for k, a in record.items()}


def test_presets_have_the_codec_that_suits_them():
    assert parse({}).codec == "none"
    assert {n: p["codec"] for n, p in PRESETS.items()} == {
        name: "bf16" if name.startswith("paper-") else "none" for name in PRESETS
    }


def echo():
    """ClientApp that gives back what it got, but for a method's memory."""
    app = ClientApp()

    @app.train(mods=[coded])
    def train(message, context):
        content = {k: v for k, v in message.content.items() if k != "memory"}
        return Message(RecordDict(content), reply_to=message)

    return app


@pytest.mark.parametrize("codec", ("none", *CODECS))
def test_a_message_is_one_array_a_record_however_many_it_holds(codec):
    """Also a method's memory, which is not encoded and does not come back."""
    values = {f"layers.{n}.lora_A.weight": np.full((2, 4), n, np.float32) for n in range(30)}
    names = ("adapter", "projector", "memory")
    records = {n: ArrayRecord({k: Array(a) for k, a in values.items()}) for n in names}
    grid, wire = InProcessGrid(echo(), 1), Wire(codec)
    message = Message(RecordDict(records), 1000, "train")
    (reply,) = grid.send_and_receive([wire.encode(message)])
    (sent,) = grid.sent_of("train")
    assert {n: len(r) for n, r in sent.content.array_records.items()} == dict.fromkeys(names, 1)
    assert {n: len(r) for n, r in reply.content.array_records.items()} == {
        "adapter": 1,
        "projector": 1,
    }
    kept = unpack(sent.content["memory"][PARCEL].numpy())
    assert {k: a.tobytes() for k, a in kept.items()} == {k: a.tobytes() for k, a in values.items()}
    found = wire.decode(message, reply).content["adapter"]
    assert {k: a.numpy().tobytes() for k, a in found.items()} == {
        k: a.tobytes() for k, a in values.items()
    }


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("aggregator", ["fedavg", "fedadam", "krum"])
def test_stock_strategies_see_float32(tmp_path, monkeypatch, codec, aggregator):
    settings = {"codec": codec, "method": "finetune"}
    if aggregator == "krum":
        settings["aggregator__arguments"] = "num_malicious_nodes=1"
    played = FakeFederation(tmp_path / "run", fake_app(topic), aggregator, **settings)
    seen = []
    inner = played.strategy.aggregate_train

    def spy(number, replies):
        seen.extend(replies := list(replies))
        return inner(number, replies)

    monkeypatch.setattr(played.strategy, "aggregate_train", spy)
    before = played.arrays
    after = played.round(1)
    assert len(seen) == 5
    for reply in seen:
        (record,) = reply.content.array_records.values()
        assert {k: tuple(a.shape) for k, a in record.items()} == {
            k: tuple(a.shape) for k, a in before.items()
        }
        assert {array.dtype for array in record.values()} == {"float32"}
        assert CODEC not in reply.content
    assert {array.dtype for array in after.values()} == {"float32"}


def flip(message, reply):
    record = reply.content["adapter"]
    parcel = record[PARCEL]
    damaged = bytearray(parcel.data)
    damaged[-1] ^= 4
    record[PARCEL] = Array(parcel.dtype, parcel.shape, parcel.stype, bytes(damaged))


def unsigned(message, reply):
    del reply.content[CODEC]


@inside
def uncoded(message, reply):
    for name, record in reply.content.array_records.items():
        plain = {k: Array(np.zeros(a.shape, np.float32)) for k, a in record.items()}
        reply.content[name] = ArrayRecord(plain)


@inside
def fewer(message, reply):
    del reply.content["adapter"]["a.lora_A.weight"]


def oversize(message, reply):
    record = reply.content["adapter"]
    parcel = record[PARCEL]
    record[PARCEL] = Array(parcel.dtype, parcel.shape, parcel.stype, b"x" * 10**6)


DAMAGE = {
    "a bit flipped": (flip, "its checksum is not its arrays': they were damaged on the way"),
    "no facts": (unsigned, "its arrays are in codec None, not 'bf16'"),
    "not encoded": (uncoded, "has dtype float32 instead of uint16"),
    "key missing": (fewer, "the reply misses 1 keys"),
    "too many bytes": (oversize, "has 1000000 bytes, more than"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_quarantined_and_changes_nothing(tmp_path, name):
    change, reason = DAMAGE[name]
    app = fake_app(topic)
    settings = {"codec": "bf16"}
    played = FakeFederation(tmp_path / "run", altering(app, BAD, change), **settings)

    def fail(client, message):
        return "error" if client == BAD and message.metadata.message_type == "train" else None

    expected = FakeFederation(tmp_path / "without", app, fail=fail, **settings)
    assert bits(played.round(1)) == bits(expected.round(1))
    (rejected,) = played.events("client-rejected")
    assert (rejected["client"], rejected["quarantined"]) == (BAD, True)
    assert re.search(reason, rejected["reason"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_changes_that_are_not_finite_are_quarantined(tmp_path, value):
    """As the client's own code would send them: whole, with the right checksum."""
    app = fake_app(topic)

    def odd(message, context):
        def train(message, context):
            reply = app(message=message, context=context)
            for record in reply.content.array_records.values():
                for key, array in record.items():
                    record[key] = Array(array.numpy() + np.float32(value))
            return reply

        return coded(message, context, train)

    for codec in CODECS:
        played = FakeFederation(tmp_path / codec, _with_train(app, odd), codec=codec)
        with np.errstate(invalid="ignore"):
            played.round(1)
        (rejected,) = played.events("client-rejected")
        assert rejected["client"] == BAD
        assert "not finite" in rejected["reason"]


def _with_train(app, train):
    """The same app with the bad client's training replaced."""
    outer = ClientApp()
    outer.query("identity")(lambda message, context: app(message=message, context=context))

    @outer.train()
    def handle(message, context):
        bad = context.node_config["partition-id"] == BAD
        return train(message, context) if bad else app(message=message, context=context)

    return outer


def test_a_message_damaged_on_the_way_is_not_trained_on(tmp_path):
    app = fake_app(topic)

    def damaging(message, context):
        record = message.content.array_records["adapter"]
        name = next(iter(record))
        array = record[name]
        data = array.data[:-1] + b"\x7f"
        record[name] = Array(array.dtype, array.shape, array.stype, data)
        return app(message=message, context=context)

    played = FakeFederation(tmp_path / "run", _with_train(app, damaging), codec="int8")
    played.round(1)
    (rejected,) = played.events("client-rejected")
    assert "damaged on the way" in rejected["reason"]
    assert not rejected["quarantined"]


@pytest.mark.parametrize(("codec", "share"), [("bf16", 1 / 2), ("int8", 1 / 4)])
def test_the_ledger_has_the_bytes_on_the_wire(tmp_path, codec, share):
    played = FakeFederation(tmp_path / "run", fake_app(topic), codec=codec)
    played.round(1)
    sent = played.grid.sent_of("train")
    down = {
        played.grid.partition(m.metadata.dst_node_id): sum(
            record.count_bytes() for record in m.content.array_records.values()
        )
        for m in sent
    }
    replied = played.events("client-replied")
    assert {event["client"]: event["bytes-down"] for event in replied} == down
    # A reply mirrors what was sent, in the same codec.
    assert {event["client"]: event["bytes"] for event in replied} == down
    parcels = [unpack(m.content["adapter"][PARCEL].numpy()) for m in sent]
    values = sum(a.nbytes for parcel in parcels for a in parcel.values())
    numbers = 5 * sum(int(np.prod(s)) for s in ((2, 3), (3, 2), (2, 5))) * 4
    extra = 0 if codec == "bf16" else 5 * 4 * (2 + 2 + 2)
    assert values == numbers * share + extra


def llava_shapes():
    """Arrays of one rank-8 subspace and of the projector of LLaVA-1.5-7B, from its configuration.

    PEFT's LoRA on the decoder's feed-forward layers, as the official code; a projector of two.
    """
    config = LlavaConfig()
    text, vision = config.text_config, config.vision_config
    hidden, inner = text.hidden_size, text.intermediate_size
    linear = {"gate_proj": (inner, hidden), "up_proj": (inner, hidden)}
    linear["down_proj"] = (hidden, inner)
    adapter = {}
    for layer in range(text.num_hidden_layers):
        for name, (outputs, inputs) in linear.items():
            adapter[f"layers.{layer}.{name}.lora_A.weight"] = (8, inputs)
            adapter[f"layers.{layer}.{name}.lora_B.weight"] = (outputs, 8)
    widths = (vision.hidden_size, hidden, hidden)
    projector = {}
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        projector[f"linear_{number}.weight"] = (outputs, inputs)
        projector[f"linear_{number}.bias"] = (outputs,)
    return adapter, projector


def test_llava_7b_sends_65_megabytes_up_where_the_official_way_sends_228():
    adapter, projector = llava_shapes()
    numbers = {n: sum(map(np.prod, s.values())) for n, s in (("a", adapter), ("p", projector))}
    sizes = model_sizes(LLAVA_15_7B)
    assert numbers["a"] == 8 * sizes.adapter_per_rank == 11_599_872
    assert numbers["p"] == sizes.projector == 20_979_712
    InProcessGrid(fake_app(topic), 1)

    def megabytes(codec, *parts):
        records = {
            name: ArrayRecord({k: Array(np.zeros(s, np.float32)) for k, s in shapes.items()})
            for name, shapes in parts
        }
        content = RecordDict({**records, "config": ConfigRecord()})
        message, wire = Message(content, 5, "train"), Wire(codec)
        wire.encode(message)
        return wire.size(message) / 1e6

    alone, both = (("adapter", adapter),), (("adapter", adapter), ("projector", projector))
    # Up as down: a reply mirrors what was sent. Names and NumPy's headers are counted in.
    assert 23.2 <= megabytes("bf16", *alone) < 23.2 * 1.005
    assert 65.1 <= megabytes("bf16", *both) < 65.2 * 1.005
    assert 32.5 <= megabytes("int8", *both) < 32.6 * 1.01
    # The official way: all eight subspaces and the projector, in bf16.
    assert round(2 * (8 * numbers["a"] + numbers["p"]) / 1e6, 1) == 227.6
