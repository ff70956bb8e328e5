"""A small ClientApp and helpers for tests of the strategies.

A client's data are a topic a stage (a direction in feature space) and a sample count. Training
moves every array towards the client's own numbers, in float32: an exact function of what was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp import strategy as stock
from flwr.serverapp.strategy import Strategy

from strategies import Disco, GridView, to_record

Topic = Callable[[int, int], int]
ADAPTER_SHAPES = {"a.lora_A.weight": (2, 3), "a.lora_B.weight": (3, 2), "b.lora_A.weight": (4,)}
PROJECTOR_SHAPES = {"projector.weight": (3, 3)}
WIDTH = 16

INNERS: dict[str, Callable[[], Strategy]] = {}
for _name, _settings in {
    "FedAvg": {},
    "FedAvgM": {"server_momentum": 0.9},
    "FedAdam": {},
    "FedYogi": {},
    "FedAdagrad": {},
    "FedProx": {"proximal_mu": 0.1},
    "FedMedian": {},
    "FedTrimmedAvg": {"beta": 0.2},
    "Krum": {"num_malicious_nodes": 0},
    "MultiKrum": {"num_malicious_nodes": 0, "num_nodes_to_select": 2},
    "Bulyan": {"num_malicious_nodes": 0},
}.items():

    def _make(name: str = _name, settings: dict[str, Any] = _settings) -> Strategy:
        sampling = {"min_train_nodes": 1, "min_evaluate_nodes": 0, "min_available_nodes": 1}
        return getattr(stock, name)(
            fraction_train=1.0, fraction_evaluate=0.0, **sampling, **settings
        )

    INNERS[_name] = _make


def token_total(topic: int, count: int) -> np.ndarray:
    """Sum of `count` identical unit features of a topic."""
    total = np.zeros(WIDTH, dtype=np.float32)
    total[topic] = count
    return total


def samples(client: int) -> int:
    """How many samples a client holds."""
    return 10 * client + 7


def moved(array: np.ndarray, client: int, name: str) -> np.ndarray:
    """A client's local training: half way to numbers of its own."""
    target = np.random.default_rng([client, len(name)]).normal(size=array.shape)
    return (0.5 * array + 0.5 * target).astype(np.float32)


def client_app(
    topic: Topic = lambda client, stage: 0,
    count: Callable[[int], int] = samples,
    train: Callable[[np.ndarray, int, str], np.ndarray] = moved,
    token: Callable[[int, int], np.ndarray] | None = None,
    prototypes: Callable[[int, int], list[tuple[np.ndarray, int]]] | None = None,
) -> ClientApp:
    """ClientApp whose clients hold `topic(client, stage)` in `count(client)` samples."""
    app = ClientApp()

    def client_of(context: Context) -> int:
        return int(context.node_config["partition-id"])

    @app.query("identity")
    def identity(message: Message, context: Context) -> Message:
        client, stage = client_of(context), int(message.content["config"]["stage"])
        total = token_total(topic(client, stage), count(client))
        if token is not None:
            total = token(client, stage)
        metrics = MetricRecord({"num-examples": count(client), "client": client})
        record = ArrayRecord({"total": Array(total)})
        if prototypes is not None:
            totals, counts = zip(*prototypes(client, stage), strict=True)
            record["prototypes"] = Array(np.stack(totals))
            record["prototype-counts"] = Array(np.array(counts, dtype=np.int64))
        return Message(RecordDict({"token": record, "metrics": metrics}), reply_to=message)

    @app.train()
    def fit(message: Message, context: Context) -> Message:
        client = client_of(context)
        reply = RecordDict()
        for name, record in message.content.array_records.items():
            reply[name] = ArrayRecord(
                {key: Array(train(array.numpy(), client, key)) for key, array in record.items()}
            )
        reply["metrics"] = MetricRecord(
            {"num-examples": count(client), "train-loss": 1.0 / (client + 1), "client": client}
        )
        return Message(reply, reply_to=message)

    return app


def new_adapter(identifier: int) -> dict[str, np.ndarray]:
    """Initial adapter of a subspace."""
    generator = np.random.default_rng([99, identifier])
    return {
        name: generator.normal(size=shape).astype(np.float32)
        for name, shape in ADAPTER_SHAPES.items()
    }


def initial_projector() -> dict[str, np.ndarray]:
    """Initial projector."""
    generator = np.random.default_rng(7)
    return {
        name: generator.normal(size=shape).astype(np.float32)
        for name, shape in PROJECTOR_SHAPES.items()
    }


def empty_bank() -> ArrayRecord:
    """A bank of no subspace."""
    return to_record({f"projector/{k}": v for k, v in initial_projector().items()})


def make_disco(inner: str | Callable[[], Strategy] = "FedAvg", **settings: Any) -> Disco:
    """DISCO over one of Flower's strategies, by its name in `INNERS` or its factory."""
    return Disco(INNERS[inner] if isinstance(inner, str) else inner, new_adapter, **settings)


def play(
    strategy: Strategy,
    grid: Grid,
    arrays: ArrayRecord,
    stage: int = 1,
    rounds: int = 1,
    nodes: list[int] | None = None,
    first_round: int = 1,
) -> ArrayRecord:
    """Rounds of one stage as the server app's loop plays them."""
    view = grid if nodes is None else GridView(grid, nodes)
    for server_round in range(first_round, first_round + rounds):
        config = ConfigRecord({"stage": stage})
        messages = strategy.configure_train(server_round, arrays, config, view)
        replies = grid.send_and_receive(messages, timeout=10.0)
        merged, _ = strategy.aggregate_train(server_round, replies)
        arrays = merged if merged is not None else arrays
    return arrays


def stock_alone(
    inner: str | Callable[[], Strategy],
    app: ClientApp,
    clients: list[int],
    start: dict[str, np.ndarray],
    rounds: int,
) -> dict[str, np.ndarray]:
    """A stock Flower strategy run alone on some clients, replies sorted, cast to float32."""
    from in_process_grid import InProcessGrid

    strategy = INNERS[inner]() if isinstance(inner, str) else inner()
    grid, arrays = InProcessGrid(app, clients), to_record(start)
    for server_round in range(1, rounds + 1):
        messages = strategy.configure_train(server_round, arrays, ConfigRecord(), grid)
        replies = grid.send_and_receive(messages)
        replies.sort(key=lambda reply: grid.partition(reply.metadata.src_node_id))
        merged, _ = strategy.aggregate_train(server_round, replies)
        assert merged is not None
        arrays = to_record({key: array.numpy() for key, array in merged.items()})
    return {key: array.numpy() for key, array in arrays.items()}


def as_bits(record: ArrayRecord) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Everything of a record that must not change, comparable with ==."""
    arrays = {key: array.numpy() for key, array in record.items()}
    return {key: (str(a.dtype), a.shape, a.tobytes()) for key, a in arrays.items()}


def adapter_of(record: ArrayRecord, identifier: int) -> dict[str, np.ndarray]:
    """Adapter of one subspace of a bank."""
    prefix = f"subspace-{identifier:03d}/adapter/"
    return {k.removeprefix(prefix): a.numpy() for k, a in record.items() if k.startswith(prefix)}


def subspaces_of(record: ArrayRecord) -> list[int]:
    """Identifiers of a bank's subspaces."""
    return sorted({int(key[9:12]) for key in record if key.startswith("subspace-")})


def count_of(record: ArrayRecord, identifier: int) -> int:
    """Sample count of a subspace's token."""
    return int(record[f"subspace-{identifier:03d}/count"].numpy())


def token_of(record: ArrayRecord, identifier: int) -> np.ndarray:
    """Token total of a subspace."""
    return record[f"subspace-{identifier:03d}/token"].numpy()


@contextmanager
def flower_log() -> Iterator[list[str]]:
    """Messages that go through Flower's logger."""
    import logging

    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("flwr")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
