"""A client takes its own lesson from the round's configuration."""

from __future__ import annotations

import pytest
from app_runs import context_of, run_config
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from in_process_grid import InProcessGrid

from client_app.app import app
from client_app.node import worker_of
from client_app.worker import Worker
from fcit_app.config import parse
from fcit_app.errors import DataError
from fcit_app.model.adapters import initial_adapter, parameter_handles, wrap
from fcit_app.model.base import load_base
from strategies.records import to_record

LESSONS = {"participants": [3, 1], "lessons": ["dvqa", "iconqa+figureqa"]}


@pytest.fixture(scope="module")
def config(tiny_folder):
    return run_config(tiny_folder, tiny_folder / "unused", tasks="", projector="frozen")


def ask(config, kind, records=None, client=1, **settings):
    InProcessGrid(app, 1)  # gives Flower the identity without which no message can be made
    content = RecordDict({**(records or {}), "config": ConfigRecord({"stage": 1, **settings})})
    context = context_of(config, **{"partition-id": client, "num-partitions": 5})
    return app(message=Message(content, 2, kind), context=context).content


@pytest.fixture(scope="module")
def adapter(tiny_folder, config):
    settings = parse(config).train
    model = wrap(load_base(str(tiny_folder)), settings.rank, settings.scaling, settings.dropout)
    return {"adapter": to_record(initial_adapter(parameter_handles(model, projector=False), 0))}


def test_a_token_is_about_the_lesson(config):
    token = ask(config, "query.identity", **LESSONS).array_records["token"]["total"].numpy()
    worker = worker_of(config)
    assert token.tobytes() == worker.token(1, 1, 5, ("iconqa", "figureqa")).total.tobytes()
    assert token.tobytes() != worker.token(1, 1, 5).total.tobytes()


def test_training_is_on_the_lesson_and_every_task_of_the_round_is_counted(config, adapter):
    metrics = ask(config, MessageType.TRAIN, adapter, **LESSONS).metric_records["metrics"]
    samples = worker_of(config).samples(1, 1, 5, ("iconqa", "figureqa"))
    counts = {key: value for key, value in metrics.items() if key.startswith("examples/")}
    assert set(counts) == {"examples/dvqa", "examples/iconqa", "examples/figureqa"}
    assert counts["examples/dvqa"] == 0
    assert sum(counts.values()) == metrics["num-examples"] == len(samples)
    assert {sample.task for sample in samples} == {"iconqa", "figureqa"}


@pytest.mark.parametrize("kind", ["query.identity", MessageType.TRAIN])
def test_a_client_that_is_not_named_refuses(config, adapter, kind):
    with pytest.raises(DataError, match="but not of client 2"):
        ask(config, kind, adapter, client=2, **LESSONS)


def test_without_lessons_it_learns_the_whole_stage(config):
    het = Worker(parse({**config, "scenario": "het", "clients-per-round": 5}))
    found = {sample.task for sample in het.samples(2, 0, 5)}
    assert found == {"clevr-math", "ocr-vqa", "flickr30k", "super-clevr"}


def test_told_its_lesson_it_needs_no_scenario_file(config):
    nowhere = {**config, "scenario": "/nowhere/at/all.toml"}
    token = ask(nowhere, "query.identity", **LESSONS).array_records["token"]["total"].numpy()
    assert (
        token.tobytes()
        == Worker(parse(config)).token(1, 1, 5, ("iconqa", "figureqa")).total.tobytes()
    )
