"""Kinds of bad reply: each is quarantined, and the others' aggregate is as without that client."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
from fake_federation import SHAPES, FakeFederation, altering, bits, draw, fake_app, inside, step
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from fcit_app.parcel import PARCEL, checksum
from fcit_app.runs import events_that_stand
from server_app.mirror import judge_mirror
from server_app.quarantine import in_words, quarantined
from server_app.replies import RoundReplies
from server_app.totals import Totals
from strategies.snapshot import pack, unpack

BAD = 3


def alike(client, stage):
    return 0


def first(change):
    """Change the first array of the adapter."""

    def alter(message, reply):
        record = reply.content["adapter"]
        record["a.lora_A.weight"] = change(record["a.lora_A.weight"].numpy())

    return alter


def poke(value):
    def change(array):
        array = array.copy()
        array.flat[0] = value
        return Array(array)

    return first(change)


def parcel(**facts):
    """A parcel that announces one thing and holds another."""

    def alter(message, reply):
        ((name, honest),) = reply.content["adapter"].items()
        fields = {k: getattr(honest, k) for k in ("dtype", "shape", "stype", "data")}
        made = {key: f(honest) if callable(f) else f for key, f in facts.items()}
        reply.content["adapter"] = ArrayRecord({name: Array(**fields | made)})

    return alter


def held(content):
    """A parcel of other bytes."""
    return lambda honest: Array(np.frombuffer(content(honest.numpy().tobytes()), np.uint8)).data


def second_array(message, reply):
    reply.content["adapter"]["more"] = Array(np.zeros(2, np.float32))


def unpacked(message, reply):
    reply.content["adapter"] = ArrayRecord({"a": Array(np.zeros(2, np.float32))})


def told(name, value):
    """Another fact about how the arrays are written."""

    def alter(message, reply):
        reply.content["codec"][name] = value

    return alter


def metric(**values):
    def alter(message, reply):
        for key, value in values.items():
            reply.content["metrics"][key.replace("_", "-")] = value

    return alter


def without_metric(key):
    return lambda message, reply: reply.content["metrics"].pop(key) and None


def drop(name):
    def alter(message, reply):
        del reply.content[name]

    return alter


def put(name, record):
    def alter(message, reply):
        reply.content[name] = record

    return alter


def no_key(message, reply):
    del reply.content["adapter"]["a.lora_B.weight"]


def key(name):
    def alter(message, reply):
        reply.content["adapter"][name] = Array(np.zeros(2, np.float32))

    return alter


def pushed(factor, name="adapter"):
    """Move as the honest client did, but much further."""

    def alter(message, reply):
        record = reply.content[name]
        for array, start in message.content[name].items():
            moved = record[array].numpy() - start.numpy()
            record[array] = Array((start.numpy() + np.float32(factor) * moved).astype(np.float32))

    return alter


def from_another_node(message, reply):
    fake = copy.copy(reply)
    fake.__dict__["_metadata"] = copy.copy(reply.metadata)
    fake.metadata.__dict__["_src_node_id"] = 1000
    return fake


def bomb(honest):
    """A header that announces much more than the parcel has."""
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(117)
    return b"\x93NUMPY\x01\x00" + len(text + "\n").to_bytes(2, "little") + (text + "\n").encode()


INSIDE = {
    "nan": (poke(np.nan), "holds values that are not finite"),
    "infinite": (poke(np.inf), "holds values that are not finite"),
    "minus infinite": (poke(-np.inf), "holds values that are not finite"),
    "key missing": (no_key, "the reply misses 1 keys, first a.lora_B.weight"),
    "key of the base": (key("base_model.model.lm_head.weight"), "adds 1 keys, first base_model"),
    "key of another subspace": (key("subspace-001/adapter/a.lora_A.weight"), "adds 1 keys"),
    "another's token": (key("subspace-001/token"), "adds 1 keys, first subspace-001/token"),
    "no projector": (drop("projector"), r"array records \['adapter'\] instead of"),
    "no arrays": (
        lambda m, r: drop("projector")(m, r) or drop("adapter")(m, r),
        r"array records \[\] instead of",
    ),
    "a record more": (put("token", ArrayRecord({"x": Array(np.ones(2))})), "array records"),
    "transposed": (first(lambda a: Array(a.T.copy())), r"has shape \(3, 2\) instead of \(2, 3\)"),
    "would broadcast": (first(lambda a: Array(a[:1, :1])), r"has shape \(1, 1\) instead of"),
    "float64": (first(lambda a: Array(a.astype("f8"))), "has dtype float64 instead of float32"),
    "float16": (first(lambda a: Array(a.astype("f2"))), "has dtype float16 instead of float32"),
    "whole numbers": (first(lambda a: Array(a.astype("i4"))), "has dtype int32 instead of"),
    "too much else": (
        put("more", ConfigRecord({"text": "x" * 2**21})),
        r"\d+ bytes of metrics and settings, more than 1048576",
    ),
    "a long list": (metric(odd=[1.0] * 2**18), "bytes of metrics and settings"),
    "far": (pushed(1e30), "the change has norm \\S+e\\+"),
    "far for this round": (pushed(100), r"adapter: the change has norm \S+, \S+ times the round's"),
    "projector far": (pushed(60, "projector"), "projector: the change has norm .* median"),
    "no metrics": (drop("metrics"), "num-examples is None"),
    "no examples": (metric(num_examples=0), "num-examples is 0, not a whole number from 1 to"),
    "negative examples": (metric(num_examples=-8), "num-examples is -8"),
    "absurd examples": (metric(num_examples=10**12), "num-examples is 1000000000000"),
    "half an example": (metric(num_examples=7.5), r"num-examples is 7\.5"),
    "nan examples": (metric(num_examples=float("nan")), "num-examples is nan"),
    "listed examples": (metric(num_examples=[8]), r"num-examples is \[8\]"),
    "other sum": (metric(num_examples=9), "the tasks' examples add up to 8, not to 9"),
    "no loss": (without_metric("train-loss"), "train-loss is None"),
    "infinite loss": (metric(train_loss=float("inf")), "train-loss is inf"),
    "negative time": (metric(seconds=-1.0), r"seconds is -1\.0"),
    "another round": (metric(round=2), "the reply is about round 2, not 1"),
    "another stage": (metric(stage=4), "the reply is about stage 4, not 1"),
    "no round": (without_metric("round"), "the reply is about round None, not 1"),
    "another node's": (from_another_node, "comes from node 1000, not from node 1003"),
}


# These are changed as they leave the node, those above as the client's own code would send them.
OUTSIDE = {
    "not a parcel": (unpacked, "adapter: 1 arrays that are no parcel"),
    "beside the parcel": (second_array, "adapter: 2 arrays that are no parcel"),
    "wrong dtype": (parcel(dtype="object"), "the parcel has dtype object"),
    "wrong shape": (parcel(shape=(2, 3)), r"the parcel has dtype uint8 and shape \(2, 3\)"),
    "pickle": (parcel(stype="pickle"), "the parcel cannot be read .*pickle"),
    "too many bytes": (
        parcel(data=b"x" * 10**6),
        r"the parcel has 1000000 bytes, more than \d{4}$",
    ),
    "a bit flipped": (
        parcel(data=lambda honest: honest.data[:-1] + bytes([honest.data[-1] ^ 4])),
        "its checksum is not its arrays': they were damaged on the way",
    ),
    "no checksum": (told("checksum", ""), "its checksum is not"),
    "another codec": (told("name", "int8"), "its arrays are in codec 'int8', not 'none'"),
    "no codec": (drop("codec"), "its arrays are in codec None, not 'none'"),
}
# Damaged, and with the checksum of the damage.
SIGNED = {
    "hidden dtype": (
        parcel(
            data=lambda honest: Array(honest.numpy().astype("f8")[: len(honest.data) // 9]).data
        ),
        "announces uint8 .* but holds float64",
    ),
    "garbage": (parcel(data=b"\x93NUMPY garbage"), "the parcel cannot be read"),
    "empty": (parcel(data=b""), "the parcel cannot be read"),
    "torn": (parcel(data=lambda honest: honest.data[:-3]), "the parcel cannot be read"),
    "bomb": (parcel(data=bomb), "the parcel cannot be read"),
    "no safetensors": (
        parcel(data=held(lambda b: b"x" * len(b))),
        "parcel of arrays cannot be read",
    ),
    "longer than it says": (parcel(data=held(lambda b: b + b"x")), "announces uint8"),
    "torn inside": (parcel(data=held(lambda b: b[:-1] + b"")), "announces uint8"),
    "odd dtype": (
        parcel(data=held(lambda b: b.replace(b"F32", b"Q32"))),
        "parcel of arrays cannot be read",
    ),
}


def signed(change):
    """Change a parcel and give it the right checksum."""

    def alter(message, reply):
        change(message, reply)
        records = reply.content.array_records
        pieces = ((name, record[PARCEL].data) for name, record in records.items())
        reply.content["codec"]["checksum"] = checksum(pieces)

    return alter


KINDS = (
    {name: (inside(change), reason) for name, (change, reason) in INSIDE.items()}
    | OUTSIDE
    | {name: (signed(change), reason) for name, (change, reason) in SIGNED.items()}
)


def out_of_memory(message, reply):
    return Message(Error(code=2, reason="out of memory"), reply_to=message)


@pytest.fixture(scope="module")
def without_the_client(tmp_path_factory):
    """The bank after a round in which the client delivered nothing."""
    app = altering(fake_app(alike), BAD, out_of_memory)
    federation = FakeFederation(tmp_path_factory.mktemp("without") / "run", app)
    expected = bits(federation.round(1))
    (rejected,) = federation.events("client-rejected")
    assert (rejected["reason"], rejected["quarantined"]) == ("out of memory", False)
    assert federation.loop.totals.strikes == {}
    return expected


def test_there_are_thirty_kinds_and_more():
    assert len(KINDS) >= 30


@pytest.mark.parametrize("name", KINDS)
def test_a_bad_reply_is_quarantined_and_changes_nothing(name, without_the_client, tmp_path):
    change, reason = KINDS[name]
    federation = FakeFederation(tmp_path / "run", altering(fake_app(alike), BAD, change))
    assert bits(federation.round(1)) == without_the_client
    (rejected,) = federation.events("client-rejected")
    assert (rejected["client"], rejected["node"], rejected["quarantined"]) == (BAD, 1003, True)
    assert re.search(reason, rejected["reason"]), rejected["reason"]
    assert federation.loop.totals.strikes == {(1, BAD): 1}


def test_honest_clients_are_not_quarantined(tmp_path, without_the_client):
    federation = FakeFederation(tmp_path / "run", fake_app(alike))
    assert bits(federation.round(1)) != without_the_client
    assert federation.events("client-rejected") == []


def test_a_norm_is_judged_by_the_factor_and_only_against_enough_others(tmp_path):
    app = altering(fake_app(alike), BAD, inside(pushed(30)))
    for name, settings, refused in (
        ("ten", {}, True),
        ("hundred", {"guard__norm_factor": 100.0}, False),
        ("off", {"guard__norm_factor": 0.0}, False),
        # Two of them: nobody can say who is the odd one.
        ("two", {"clients_per_round": 2, "seed": 1}, False),
    ):
        federation = FakeFederation(tmp_path / name, app, **settings)
        federation.round(1)
        found = federation.events("client-rejected")
        assert [event["client"] for event in found] == ([BAD] if refused else [])
        if refused:
            assert found[0]["norm"] > 10 * found[0]["median"] > 0
        if name == "two":
            assert BAD in federation.events("round-started")[0]["participants"]


def test_who_delivers_twice_counts_once(tmp_path, monkeypatch):
    """Also if the grid hands both on: what comes second is left aside, whatever it holds."""
    taken = []
    honest = RoundReplies.take

    def twice(self, reply):
        honest(self, reply)
        second = copy.copy(reply)
        second.content = copy.copy(reply.content)
        second.content["adapter"] = ArrayRecord({"a": Array(np.zeros(1, np.float32))})
        honest(self, second)
        taken.append(reply)

    federation = FakeFederation(tmp_path / "once", fake_app(alike))
    expected = bits(federation.round(1))
    monkeypatch.setattr(RoundReplies, "take", twice)
    again = FakeFederation(tmp_path / "twice", fake_app(alike))
    assert bits(again.round(1)) == expected
    assert len(taken) == 5
    assert len(again.events("reply-left-aside")) == 5
    assert again.events("client-rejected") == []
    assert again.loop.totals.up == federation.loop.totals.up


def test_three_strikes_bench_a_client_for_the_stage(tmp_path):
    federation = FakeFederation(
        tmp_path / "run", altering(fake_app(alike), BAD, inside(poke(np.nan)))
    )
    for number in range(1, 6):
        federation.round(number)
    federation.round(1, stage=2)
    drawn = [BAD in event["participants"] for event in federation.events("round-started")]
    assert drawn == [True, True, True, False, False, True]
    (benched,) = federation.events("client-benched")
    assert (benched["client"], benched["round"], benched["strikes"]) == (BAD, 3, 3)


def test_no_strikes_no_bench(tmp_path):
    app = altering(fake_app(alike), BAD, inside(poke(np.nan)))
    federation = FakeFederation(tmp_path / "run", app, guard__strikes=0)
    for number in range(1, 6):
        federation.round(number)
    assert all(BAD in event["participants"] for event in federation.events("round-started"))


def test_strikes_survive_in_the_state():
    totals = Totals()
    for _ in range(3):
        totals.add_strike(2, BAD)
    packed = pack({"totals": vars(totals)})
    again = Totals(**unpack(packed.tree, packed.arrays)["totals"])
    assert again == totals
    assert again.benched(2, 3) == {BAD}
    assert again.benched(1, 3) == again.benched(2, 4) == again.benched(2, 0) == set()
    # A state from before there were strikes.
    assert Totals(seconds={}, up=1, down=2, samples={}).strikes == {}


def test_bad_tokens_are_strikes_too(tmp_path):
    def huge(message, reply):
        reply.content["token"]["total"] = Array(np.full(8, 1e9, np.float32))

    app = altering(fake_app(alike), BAD, lambda m, r: None, huge)
    federation = FakeFederation(tmp_path / "run", app)
    for number in range(1, 5):
        federation.round(number)
    rejected = federation.events("client-rejected")
    assert [event["quarantined"] for event in rejected] == [True] * 3
    assert len(federation.events("client-benched")) == 1


def test_the_last_word_names_who_was_quarantined(tmp_path):
    federation = FakeFederation(
        tmp_path / "run", altering(fake_app(alike), BAD, inside(poke(np.nan)))
    )
    for number in range(1, 5):
        federation.round(number)
    (entry,) = quarantined(events_that_stand(federation.folder.ledger.read()))
    assert (entry["client"], entry["replies"], entry["benched"]) == (BAD, 3, [1])
    assert entry["rounds"] == [[1, 1], [1, 2], [1, 3]]
    assert len(entry["reasons"]) == 1
    assert re.fullmatch(
        "quarantined: 3 replies of client 3: adapter: a.lora_A.weight holds values that are not "
        "finite; benched in stage 1",
        in_words(entry),
    )


def test_a_client_reaches_no_other_subspace_and_no_other_token(tmp_path):
    """Within the norm's bound a client may do what it likes to its own subspace, and only there."""

    def wild(message, reply):
        record = reply.content["adapter"]
        for name, array in message.content["adapter"].items():
            record[name] = Array(array.numpy() + np.float32(5))

    topics = fake_app(lambda client, stage: 1 if client == BAD else 0)
    settings = {"guard__norm_factor": 0.0}
    honest = FakeFederation(tmp_path / "honest", topics, **settings)
    hostile = FakeFederation(tmp_path / "hostile", altering(topics, BAD, inside(wild)), **settings)
    for number in (1, 2):
        expected, found = honest.round(number), hostile.round(number)
    assert set(expected) == set(found)
    # Adapter, token and count of the others' subspace, the own token, and the projector.
    same = [k for k in expected if not k.startswith("subspace-001/adapter")]
    assert len(same) == len(expected) - 3
    assert bits(found, same) == bits(expected, same)
    assert bits(found) != bits(expected)


@pytest.mark.parametrize("aggregator", ["fedavg", "fedmedian", "krum"])
def test_a_copied_token_is_seen_and_a_robust_aggregator_bounds_it(tmp_path, aggregator):
    """In stage 2 the client's own topic is 1, but it says the token of subspace 0."""

    def steal(message, reply):
        total = np.zeros(8, np.float32)
        total[0] = 8
        reply.content["token"]["total"] = Array(total)

    def backwards(message, reply):
        return pushed(-8)(message, reply) if message.content["config"]["stage"] == 2 else None

    topics = fake_app(lambda client, stage: int(stage == 2 and client == BAD))
    arguments = "num_malicious_nodes=1" if aggregator == "krum" else ""
    federation = FakeFederation(
        tmp_path / "run",
        altering(topics, BAD, inside(backwards), steal),
        aggregator,
        aggregator__arguments=arguments,
    )
    before = federation.round(1)
    after = federation.round(1, stage=2)
    assert federation.events("client-rejected") == []
    seen = {e["client"]: e for e in federation.events("clients-matched")[-1]["clients"]}
    assert seen[BAD] == {"client": BAD, "subspace": 0, "opened": False, "cosine": 1.0}
    assert set(after) == set(before)
    outside = 0.0
    for name, shape in SHAPES.items():
        key = f"subspace-000/adapter/{name}"
        moved = after[key].numpy() - before[key].numpy()
        steps = np.stack([step(name, shape, client) for client in range(5) if client != BAD])
        outside = max(outside, float((moved - steps.max(0)).max()))
        outside = max(outside, float((steps.min(0) - moved).max()))
    # A robust aggregator stays within what the honest clients did; the mean does not.
    assert (outside > 1e-2) == (aggregator == "fedavg")
    assert outside < 1e-6 or aggregator == "fedavg"


def test_sizes_are_in_the_ledger_per_client_round_and_direction(tmp_path):
    federation = FakeFederation(
        tmp_path / "run", altering(fake_app(alike), BAD, inside(poke(np.nan)))
    )
    federation.round(1)
    replied, rejected = federation.events("client-replied"), federation.events("client-rejected")
    (finished,) = federation.events("round-finished")
    assert len(replied) == 4
    tokens = 5 * (8 * 4 + 128 + len("total"))
    up = sum(event["bytes"] for event in (*replied, *rejected))
    assert finished["bytes"]["up"] == up + tokens
    assert finished["bytes"]["down"] == sum(e["bytes-down"] for e in (*replied, *rejected))
    sent = federation.grid.sent_of("train")
    assert finished["bytes"]["down"] == sum(
        record.count_bytes() for m in sent for record in m.content.array_records.values()
    )


def test_the_small_metric_records_of_a_stranger_are_measured_without_flowers_count():
    sent = {"adapter": ArrayRecord({k: Array(a) for k, a in draw({"a": (2,)}, 1).items()})}
    reply = Message.__new__(Message)
    content = {"adapter": sent["adapter"], "odd": ConfigRecord({"empty": "", "none": []})}
    reply.__dict__["_content"] = RecordDict({**content, "metrics": MetricRecord({"m": []})})
    assert judge_mirror(sent, reply) is None
