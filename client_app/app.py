"""The Flower ClientApp: one small handler for each message, around a worker."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from client_app.codec_mod import coded
from client_app.given_tokens import given_token
from client_app.node import worker_of
from client_app.own_data import PRIVATE, private_record, usable_own_data
from client_app.private_mod import private
from fcit_app.arrays import Arrays
from fcit_app.config import parse
from fcit_app.data.folder.private import own_data
from fcit_app.data.lesson import lesson_text, own_lesson, parse_lesson, read_lessons, tasks_in
from fcit_app.errors import ModelError, RunError
from fcit_app.methods.state import read_memory
from fcit_app.parcel import PARCEL, pack, unpack

if TYPE_CHECKING:  # it imports torch
    from client_app.worker import Worker

app = ClientApp()

_PARTS = ("adapter/", "projector/")
_MEMORY = "memory"
_SKIPPED = "skipped"
"""Record of a training's reply: bad records left out, how many and in words."""


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Say which client of how many this node is, and whether it has a private task."""
    client, clients = _identity(context)
    content = RecordDict({"metrics": MetricRecord({"client": client, "clients": clients})})
    own = usable_own_data(context.node_config, context.run_config, client)
    if own and own.task:
        content[PRIVATE] = private_record(own)
    return Message(content, reply_to=message)


@app.query("prepare")
def prepare(message: Message, context: Context) -> Message:
    """Load what training needs, so that the first round finds this process ready."""
    _worker(context).prepare()
    return Message(RecordDict(), reply_to=message)


@app.query("identity")
def identity(message: Message, context: Context) -> Message:
    """Give the identity token of what this client learns in a stage."""
    client, clients = _identity(context)
    config = message.content.config_records["config"]
    stage, lesson = int(config["stage"]), own_lesson(config, client)  # type: ignore[arg-type]
    worker = _worker(context)
    if parse(context.run_config).identity.noise > 0:
        token = given_token(
            context.state,
            lesson_text(worker.lesson(stage, lesson)),
            lambda: worker.token(stage, client, clients, lesson),
        )
    else:
        token = worker.token(stage, client, clients, lesson)
    record = ArrayRecord({"total": Array(token.total)})
    if token.prototypes:
        record["prototypes"] = Array(np.stack([part.total for part in token.prototypes]))
        counts = np.asarray([part.count for part in token.prototypes], dtype=np.int64)
        record["prototype-counts"] = Array(counts)
    content = RecordDict(
        {
            "token": record,
            "metrics": MetricRecord(
                {"num-examples": token.count, "client": client, "stage": stage}
            ),
        }
    )
    return Message(content, reply_to=message)


@app.query("importance")
def importance(message: Message, context: Context) -> Message:
    """Measure how much this client's answers in a stage depend on each value in the message."""
    client, clients = _identity(context)
    config = message.content.config_records["config"]
    stage, lesson = int(config["stage"]), own_lesson(config, client)  # type: ignore[arg-type]
    (parcel,) = message.content.array_records.values()
    sent = unpack(parcel[PARCEL].numpy())
    arrays = {_parameter(key): array for key, array in sent.items()}
    measured = _worker(context).importance(arrays, stage, client, clients, lesson)
    found = pack({key: measured.arrays[_parameter(key)] for key in sent})
    metrics = MetricRecord({"num-examples": measured.samples, "client": client, "stage": stage})
    record = ArrayRecord({PARCEL: Array(found)})
    content = RecordDict({"importance": record, "metrics": metrics})
    return Message(content, reply_to=message)


@app.train(mods=[coded, private])
def train(message: Message, context: Context) -> Message:
    """Fine-tune the arrays in the message and send them back under the same names.

    The arrays may come in one record (any stock strategy) or in one a part (DISCO), their keys with
    or without the part's name before them: the reply mirrors what was sent. A record "memory" is
    what a method remembers of earlier stages; it is used and not sent back.
    """
    started = time.perf_counter()
    client, clients = _identity(context)
    config = message.content.config_records["config"]
    # Without a stage key (Flower's own loop) all rounds belong to the first stage.
    stage = int(config.get("stage", 1))  # type: ignore[arg-type]
    number = int(config.get("round", config.get("server-round", 1)))  # type: ignore[arg-type]
    # Flower's FedProx is the server's half of it and sends the weight of the proximal term.
    proximal_mu = float(config.get("proximal-mu", 0.0))  # type: ignore[arg-type]
    sent = dict(message.content.array_records)
    remembered = sent.pop(_MEMORY, ArrayRecord())
    memory = read_memory({key: array.numpy() for key, array in remembered.items()})
    worker, lesson = _worker(context), own_lesson(config, client)
    result, examples = worker.train(
        _arrays(sent),
        stage,
        number,
        client,
        clients,
        proximal_mu,
        lesson,
        memory,
    )
    skipped, told = worker.skipped(stage, client, clients, lesson)
    content = RecordDict(
        {
            name: ArrayRecord({key: Array(result.arrays[_parameter(key)]) for key in record})
            for name, record in sent.items()
        }
    )
    content["metrics"] = MetricRecord(
        {
            "num-examples": sum(examples.values()),
            # Every task of the round: stock strategies want the same metrics from all clients.
            **{f"examples/{task}": 0 for task in _tasks_of_round(config)},
            **{f"examples/{task}": count for task, count in examples.items()},
            "client": client,
            "stage": stage,
            "round": number,
            "train-loss": float(result.loss_last),
            "train-loss-first": float(result.loss_first),
            "seconds": time.perf_counter() - started,
        }
    )
    if skipped:
        content[_SKIPPED] = ConfigRecord({"records": skipped, "told": told})
    return Message(content, reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Answer this client's shard of the test questions with the bank in the message.

    What goes back are counts and sums (``fcit_app.evaluate.shard_message``), and answers only of
    the tasks of which the server's order asks for them.
    """
    started = time.perf_counter()
    client, _ = _identity(context)
    config = message.content.config_records["config"]
    arrays = unpack(message.content.array_records["bank"][PARCEL].numpy())
    report, questions = _worker(context).evaluate(arrays, str(config["bank"]), str(config["shard"]))
    seconds = time.perf_counter() - started
    content = RecordDict(
        {
            "report": ConfigRecord({"report": report}),
            "metrics": MetricRecord(
                {"num-examples": questions, "client": client, "seconds": seconds}
            ),
        }
    )
    return Message(content, reply_to=message)


def _worker(context: Context) -> Worker:
    """Give the worker for the run and the node's own data."""
    return worker_of(context.run_config, own_data(context.node_config))


def _tasks_of_round(config: Mapping[str, object]) -> tuple[str, ...]:
    """Tasks of all participants' lessons; none if the round has no lessons."""
    lessons = read_lessons(config).values()
    return tuple(task for text in lessons for task in tasks_in(parse_lesson(text)))


def _identity(context: Context) -> tuple[int, int]:
    """Which client, from 0, of how many this node is."""
    found = [context.node_config.get(key) for key in ("partition-id", "num-partitions")]
    client, clients = (value if isinstance(value, int) else -1 for value in found)
    if not 0 <= client < clients:
        raise RunError(
            f"This node's configuration says partition-id = {found[0]}, num-partitions = "
            f"{found[1]}; both must be whole numbers, partition-id from 0 to num-partitions - 1. "
            "Start the SuperNode with --node-config 'partition-id=0 num-partitions=5' (its own "
            "number, and how many clients there are)."
        )
    return client, clients


def _arrays(records: Mapping[str, ArrayRecord]) -> Arrays:
    """All arrays of a message by parameter; they are checked when they are loaded."""
    arrays: Arrays = {}
    for record in records.values():
        for key, array in record.items():
            name = _parameter(key)
            if name in arrays:
                raise ModelError(f"The message holds '{name}' twice; every parameter comes once.")
            arrays[name] = array.numpy()
    return arrays


def _parameter(key: str) -> str:
    """Name of a parameter without the part it is filed under."""
    for part in _PARTS:
        key = key.removeprefix(part)
    return key
