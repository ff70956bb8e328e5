"""What a client answers, and what a message can never do to it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from app_runs import context_of, run_config
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from in_process_grid import InProcessGrid

import client_app.worker
import fcit_app.model.base
from client_app.app import app
from client_app.node import worker_of
from client_app.worker import Worker
from fcit_app.config import parse
from fcit_app.errors import DataError, ModelError, RunError
from fcit_app.identity.encoders import load_encoder
from fcit_app.identity.prototypes import SMALLEST_CLUSTER
from fcit_app.identity.tokens import IdentityToken
from fcit_app.model.adapters import (
    initial_adapter,
    is_adapter,
    parameter_handles,
    read_parameters,
    wrap,
)
from fcit_app.model.base import load_base
from strategies.records import to_record
from strategies.single import initial_single


@pytest.fixture(scope="module")
def config(tiny_folder):
    return run_config(tiny_folder, tiny_folder / "unused", train__dropout=0.1)


@pytest.fixture(scope="module")
def start(tiny_folder, config):
    """Adapter and projector that training starts from."""
    settings = parse(config).train
    model = wrap(load_base(str(tiny_folder)), settings.rank, settings.scaling, settings.dropout)
    handles = parameter_handles(model, projector=True)
    projector = {name: handle for name, handle in handles.items() if not is_adapter(name)}
    return initial_adapter(handles, 0), read_parameters(projector)


def ask(config, records, client=0, kind=MessageType.TRAIN, **settings):
    """The ClientApp's reply to a message."""
    InProcessGrid(app, 1)  # gives Flower the identity without which no message can be made
    content = RecordDict({**records, "config": ConfigRecord({"stage": 1, **settings})})
    context = context_of(config, **{"partition-id": client, "num-partitions": 5})
    return app(message=Message(content, 2, kind), context=context)


def train(config, records, client=0, **settings):
    return ask(config, records, client, **settings).content


def single(start):
    return {"arrays": initial_single(*start)}


def parts(start):
    return {"adapter": to_record(start[0]), "projector": to_record(start[1])}


def as_bytes(content):
    return {
        (name, key): array.numpy().tobytes()
        for name, record in content.array_records.items()
        for key, array in record.items()
    }


@pytest.mark.parametrize("layout", [single, parts, lambda start: {"x": to_record(start[0])}])
def test_a_reply_mirrors_what_was_sent(config, start, layout):
    records = layout(start)
    reply = train(config, records)
    assert set(reply.array_records) == set(records)
    for name, record in records.items():
        found = reply.array_records[name]
        assert list(found) == list(record)
        for key, array in record.items():
            assert (found[key].shape, found[key].dtype) == (array.shape, array.dtype)
            assert not np.array_equal(found[key].numpy(), array.numpy()), key
    metrics = reply.metric_records["metrics"]
    samples = worker_of(config).samples(1, 0, 5)
    assert metrics["num-examples"] == metrics["examples/imagenet-r"] == len(samples)
    assert metrics["client"] == 0
    assert 0 < metrics["train-loss"] < 100
    assert 0 < metrics["seconds"] < 60


def test_a_projector_of_the_subspaces_own_comes_back_with_the_adapter(config, start):
    own = {**config, "projector": "per-subspace"}
    adapter, projector = start
    part = {**adapter, **{f"projector/{name}": array for name, array in projector.items()}}
    reply = train(own, {"adapter": to_record(part)})
    apart = as_bytes(train(config, parts(start)))
    found = {key.removeprefix("projector/"): a for (_, key), a in as_bytes(reply).items()}
    assert list(reply.array_records["adapter"]) == list(part)
    assert found == {key: array for (_, key), array in apart.items()}


def identity_of(config, client=2):
    return ask(config, {}, client, "query.identity").content


def test_the_token_of_text_is_the_mean_of_the_questions_features(config):
    found = identity_of(config)
    questions = [sample.question for sample in worker_of(config).samples(1, 2, 5)]
    expected = IdentityToken.of(load_encoder("hashed-ngrams").encode(questions))
    assert list(found["token"]) == ["total"]
    assert found["token"]["total"].numpy().tobytes() == expected.total.tobytes()
    assert dict(found["metrics"]) == {"num-examples": len(questions), "client": 2, "stage": 1}


@pytest.mark.parametrize(("source", "width"), [("image", 32), ("text+image", 1024 + 32)])
def test_tokens_of_pictures(config, source, width):
    total = identity_of({**config, "identity.token": source})["token"]["total"].numpy()
    assert total.shape == (width,)
    assert np.abs(total).sum() > 0


def test_prototypes_are_sent_when_they_are_asked_for(config):
    pooled = {**config, "setting": "capability", "tasks": "general", "data.train-samples": 100}
    plain = identity_of(pooled)["token"]
    record = identity_of({**pooled, "identity.prototypes": 4})["token"]
    assert record["total"].numpy().tobytes() == plain["total"].numpy().tobytes()
    counts = record["prototype-counts"].numpy()
    assert record["prototypes"].numpy().shape == (len(counts), 1024)
    assert 2 <= len(counts) <= 4 and counts.min() >= SMALLEST_CLUSTER


def test_a_reply_counts_the_samples_of_every_task_of_its_stage(config, start):
    pooled = {**config, "setting": "capability", "tasks": "chart"}
    for client in range(5):
        metrics = train(pooled, parts(start), client).metric_records["metrics"]
        samples = worker_of(pooled).samples(1, client, 5)
        for task in ("arxivqa", "figureqa", "dvqa"):
            expected = sum(sample.task == task for sample in samples)
            assert metrics[f"examples/{task}"] == expected
        assert sum(v for k, v in metrics.items() if k.startswith("examples/")) == len(samples)


def test_the_layout_of_a_message_makes_no_difference(config, start):
    together, apart = train(config, single(start)), train(config, parts(start))
    trained = {key.partition("/")[2]: a for (_, key), a in as_bytes(together).items()}
    assert trained == {key: array for (_, key), array in as_bytes(apart).items()}


def test_flowers_fedprox_reaches_the_clients_loss(config, start):
    free = as_bytes(train(config, parts(start)))
    none = as_bytes(train(config, parts(start), **{"proximal-mu": 0.0}))
    held = train(config, parts(start), **{"proximal-mu": 50.0})
    assert free == none

    def distance(content):
        records = content.array_records
        sent = {"adapter": start[0], "projector": start[1]}
        return sum(
            float(np.square(records[part][name].numpy() - array).sum())
            for part, arrays in sent.items()
            for name, array in arrays.items()
        )

    assert distance(held) < distance(train(config, parts(start)))


def base_hash(tiny_folder):
    base = load_base(str(tiny_folder))
    digest = hashlib.sha256()
    for name, tensor in sorted(base.model.state_dict().items()):
        if ".lora_" not in name:
            digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def with_key(start, key, array):
    return {"adapter": to_record({**start[0], key: array}), "projector": to_record(start[1])}


def hostile_messages(start):
    adapter, projector = start
    name = min(adapter)
    odd = np.full_like(adapter[name], 7)
    head = np.full((320, 32), 7, np.float32)
    attention = "base_model.model.model.language_model.layers.0.self_attn.q_proj.weight"
    return {
        "head": with_key(start, "base_model.model.lm_head.weight", head),
        "attention": with_key(start, attention, head[:32]),
        "base layer": with_key(start, name.replace("lora_A", "base_layer"), odd),
        "prefix": with_key(start, "other/" + name, odd),
        "shape": {"adapter": to_record({**adapter, name: odd.T})},
        "missing": {"adapter": to_record({k: a for k, a in adapter.items() if k != name})},
        "nan": {"adapter": to_record({**adapter, name: odd * np.nan})},
        "integers": {
            "adapter": ArrayRecord({k: Array(a.astype(np.int64)) for k, a in adapter.items()})
        },
        "twice": {"a": to_record(adapter), "b": to_record({f"adapter/{name}": odd})},
        "part of the projector": {
            "adapter": to_record(adapter),
            "projector": to_record(dict(list(projector.items())[:1])),
        },
        "nothing": {"adapter": ArrayRecord()},
    }


NAMES = [
    "head", "attention", "base layer", "prefix", "shape", "missing", "nan", "integers", "twice",
    "part of the projector", "nothing",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_message_is_refused_and_touches_nothing(config, start, tiny_folder, name):
    expected = as_bytes(train(config, parts(start)))
    before = base_hash(tiny_folder)
    with pytest.raises(ModelError):
        train(config, hostile_messages(start)[name])
    assert base_hash(tiny_folder) == before
    assert as_bytes(train(config, parts(start))) == expected


def test_a_refusal_is_an_error_reply_to_the_server(config, start):
    grid = InProcessGrid(app, 5, run_config=config)
    records = {**hostile_messages(start)["head"], "config": ConfigRecord({"stage": 1})}
    (reply,) = grid.send_and_receive([Message(RecordDict(records), 1000, MessageType.TRAIN)])
    assert reply.has_error()
    assert "lm_head" in reply.error.reason


def test_a_frozen_projector_is_not_trained_whatever_the_message_says(config, start, tiny_folder):
    frozen = {**config, "projector": "frozen"}
    before = base_hash(tiny_folder)
    with pytest.raises(ModelError, match="multi_modal_projector"):
        train(frozen, parts(start))
    assert set(train(frozen, {"adapter": to_record(start[0])}).array_records) == {"adapter"}
    assert base_hash(tiny_folder) == before


def test_a_result_does_not_depend_on_who_trained_before(config, start):
    alone = as_bytes(train(config, parts(start), client=2, round=2))
    client_app.worker.own_worker.cache_clear()
    for client, stage in ((4, 2), (0, 1), (2, 2)):
        train(config, parts(start), client=client, stage=stage)
    assert as_bytes(train(config, parts(start), client=2, round=2)) == alone
    for other in ({"client": 3, "round": 2}, {"client": 2, "round": 1}):
        assert as_bytes(train(config, parts(start), **other)) != alone


def test_flowers_own_round_number_stands_in_for_ours(config, start):
    own = train(config, parts(start), **{"server-round": 2})
    assert as_bytes(own) == as_bytes(train(config, parts(start), round=2))


def test_the_base_is_loaded_once_for_many_messages(config, start, monkeypatch):
    loads = []
    load = fcit_app.model.base._load_model
    monkeypatch.setattr(
        fcit_app.model.base, "_load_model", lambda *asked: loads.append(asked) or load(*asked)
    )
    fcit_app.model.base._load_base.cache_clear()
    client_app.worker.own_worker.cache_clear()
    for client in range(4):
        ask(config, {}, client, "query.identity")
        train(config, parts(start), client=client)
        train(config, single(start), client=client, stage=2)
    assert len(loads) == 1


def test_pictures_go_through_the_vision_tower_once(config, start, monkeypatch):
    worker = worker_of(config)
    train(config, parts(start))
    monkeypatch.setattr(worker._vision, "_compute", lambda samples: pytest.fail("seen before"))
    train(config, parts(start))


def test_an_identity_is_read_off_the_questions_alone(config, monkeypatch):
    worker = Worker(parse(config))
    samples = worker.samples(1, 0, 5)
    token = worker.token(1, 0, 5)
    assert token.count == len(samples)

    def no_picture():
        pytest.fail("a token needs no picture")

    def other_answers(*arguments):
        return [replace(s, answer="zebra", picture=no_picture) for s in samples]

    monkeypatch.setattr(worker, "samples", other_answers)
    assert worker.token(1, 0, 5).total.tobytes() == token.total.tobytes()

    def other_questions(*arguments):
        return [replace(s, question="Why?\nAnswer with a word.") for s in samples]

    monkeypatch.setattr(worker, "samples", other_questions)
    assert worker.token(1, 0, 5).total.tobytes() != token.total.tobytes()


def test_the_answer_to_the_identity_query(config):
    reply = ask(config, {}, 3, "query.identity", stage=2).content
    token = worker_of(config).token(2, 3, 5)
    assert reply.array_records["token"]["total"].numpy().tobytes() == token.total.tobytes()
    expected = {"num-examples": token.count, "client": 3, "stage": 2}
    assert dict(reply.metric_records["metrics"]) == expected


def test_hello(config):
    reply = ask(config, {}, 3, "query.hello").content
    assert dict(reply.metric_records["metrics"]) == {"client": 3, "clients": 5}


@pytest.mark.parametrize("kind", ["query.hello", "query.identity", "train"])
@pytest.mark.parametrize(
    "node_config",
    [
        {},
        {"num-partitions": 5},
        {"partition-id": 1},
        {"partition-id": 5, "num-partitions": 5},
        {"partition-id": -1, "num-partitions": 5},
        {"partition-id": "one", "num-partitions": 5},
    ],
)
def test_a_node_that_does_not_know_who_it_is(config, kind, node_config):
    message = Message(RecordDict(), 2, kind)
    with pytest.raises(RunError) as caught:
        app(message=message, context=context_of(config, **node_config))
    assert f"partition-id = {node_config.get('partition-id')}" in str(caught.value)
    assert "--node-config 'partition-id=0 num-partitions=5'" in str(caught.value)


def test_a_stage_that_does_not_exist(config, start):
    with pytest.raises(DataError, match="no stage 9; the run has 2 stages"):
        train(config, parts(start), stage=9)
