"""The Flower ClientApp: three small handlers around a worker."""

from __future__ import annotations

import time

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fcit_app.arrays import Arrays
from fcit_app.errors import RunError

app = ClientApp()


def _identity(context: Context) -> tuple[int, int]:
    """Which client of how many this node is."""
    node = context.node_config
    try:
        return int(node["partition-id"]), int(node["num-partitions"])
    except KeyError as error:
        raise RunError(
            f"This node's configuration lacks {error}. Start the SuperNode with "
            "--node-config 'partition-id=0 num-partitions=5' (its own number, and how many there "
            "are)."
        ) from error


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Say which client this node is."""
    client, _ = _identity(context)
    content = RecordDict({"metrics": MetricRecord({"client": client})})
    return Message(content, reply_to=message)


@app.query("identity")
def identity(message: Message, context: Context) -> Message:
    """Give the identity token of this client's data in a stage."""
    from client_app.worker import worker_of

    client, clients = _identity(context)
    stage = int(message.content.config_records["config"]["stage"])  # type: ignore[arg-type]
    token = worker_of(context.run_config).token(stage, client, clients)
    content = RecordDict(
        {
            "token": ArrayRecord({"total": Array(token.total)}),
            "metrics": MetricRecord({"num-examples": token.count, "client": client}),
        }
    )
    return Message(content, reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Fine-tune the arrays in the message and send them back under the same names.

    The arrays may come in one record (any stock strategy) or in one a part (DISCO), their keys with
    or without the part's name before them: the reply mirrors what was sent.
    """
    from client_app.worker import worker_of

    started = time.perf_counter()
    client, clients = _identity(context)
    config = message.content.config_records["config"]
    # Without a stage key (Flower's own loop) all rounds belong to the first stage.
    stage = int(config.get("stage", 1))  # type: ignore[arg-type]
    number = int(config.get("round", config.get("server-round", 1)))  # type: ignore[arg-type]
    sent = message.content.array_records
    arrays: Arrays = {
        _parameter(key): np.asarray(array.numpy(), dtype=np.float32)
        for record in sent.values()
        for key, array in record.items()
    }
    worker = worker_of(context.run_config)
    result, examples = worker.train(arrays, stage, number, client, clients)
    trained = result.arrays
    content = RecordDict(
        {
            name: ArrayRecord({key: Array(trained[_parameter(key)]) for key in record})
            for name, record in sent.items()
        }
    )
    content["metrics"] = MetricRecord(
        {
            "num-examples": examples,
            "client": client,
            "train-loss": float(result.loss_last),
            "train-loss-first": float(result.loss_first),
            "seconds": time.perf_counter() - started,
        }
    )
    return Message(content, reply_to=message)


def _parameter(key: str) -> str:
    """A parameter's name without the part (``adapter/``, ``projector/``) it is filed under."""
    return key.rsplit("/", 1)[-1]
