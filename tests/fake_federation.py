"""The server's real loop around clients without a model: a round takes milliseconds.

Training moves every array a little, by numbers of the client's own; a client's identity is a topic.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from app_runs import run_config
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from in_process_grid import InProcessGrid

from client_app.codec_mod import coded
from fcit_app.config import flatten, parse
from fcit_app.data.stages import make_stages
from fcit_app.parcel import PARCEL, checksum, unpack
from fcit_app.runs import RunFolder
from server_app.journal import Journal
from server_app.loop import Federation
from server_app.nodes import ClientNodes
from server_app.wire import CODEC
from strategies.aggregators import make_aggregator
from strategies.bank_record import BankRecord, write_bank
from strategies.disco import Disco
from strategies.records import packed, to_record

WIDTH = 8
SHAPES = {"a.lora_A.weight": (2, 3), "a.lora_B.weight": (3, 2), "b.lora_A.weight": (2, 5)}
PROJECTOR = {"projector.weight": (3, 3)}

Change = Callable[[Message, Message], Message | None]
"""From message and honest reply to the reply; the altered honest one if None."""


def draw(shapes: dict[str, tuple[int, ...]], *seed: int) -> dict[str, np.ndarray]:
    """Normal numbers of some shapes."""
    generator = np.random.default_rng(seed)
    return {k: generator.normal(size=s).astype(np.float32) for k, s in shapes.items()}


def step(key: str, shape: tuple[int, ...], client: int) -> np.ndarray:
    """How far a client moves an array in a round."""
    (moved,) = draw({key: shape}, client, len(key)).values()
    return np.float32(0.05) * moved


def fake_app(topic: Callable[[int, int], int]) -> ClientApp:
    """ClientApp whose client has topic(client, stage) for its instructions."""
    app = ClientApp()

    @app.query("identity")
    def identity(message: Message, context: Context) -> Message:
        client, stage = context.node_config["partition-id"], message.content["config"]["stage"]
        total = np.zeros(WIDTH, np.float32)
        total[topic(client, stage)] = 8
        metrics = MetricRecord({"num-examples": 8, "client": client, "stage": stage})
        content = RecordDict({"token": ArrayRecord({"total": Array(total)}), "metrics": metrics})
        return Message(content, reply_to=message)

    @app.train(mods=[coded])
    def train(message: Message, context: Context) -> Message:
        client, config = context.node_config["partition-id"], message.content["config"]
        assert {a.dtype for r in message.content.array_records.values() for a in r.values()} == {
            "float32"
        }
        content = RecordDict()
        for name, record in message.content.array_records.items():
            content[name] = ArrayRecord(
                {k: Array(a.numpy() + step(k, tuple(a.shape), client)) for k, a in record.items()}
            )
        metrics = {"num-examples": 8, "examples/imagenet-r": 8, "client": client, "seconds": 0.01}
        metrics |= {"train-loss": 1.0, "stage": config["stage"], "round": config["round"]}
        content["metrics"] = MetricRecord(metrics)
        return Message(content, reply_to=message)

    return app


def altering(app: ClientApp, bad: int, train: Change, identity: Change | None = None) -> ClientApp:
    """The same app, but for one client's replies as they leave its node, parcels and all."""
    outer = ClientApp()

    def handler(change: Change) -> Callable[[Message, Context], Message]:
        def handle(message: Message, context: Context) -> Message:
            reply = app(message=message, context=context)
            if context.node_config["partition-id"] != bad:
                return reply
            return change(message, reply) or reply

        return handle

    outer.query("identity")(handler(identity or (lambda message, reply: None)))
    outer.train()(handler(train))
    return outer


def inside(change: Change) -> Change:
    """Change what is in the parcels of a reply, and pack it again as an honest client does."""

    def alter(message: Message, reply: Message) -> Message:
        opened = _opened(reply)
        changed = change(_opened(message), opened) or opened
        if changed.has_error():
            return changed
        parcels = {n: packed(record) for n, record in changed.content.array_records.items()}
        total = checksum((name, record[PARCEL].data) for name, record in parcels.items())
        facts = ConfigRecord({**reply.content[CODEC], "checksum": total})
        changed.content = RecordDict({**changed.content, **parcels, CODEC: facts})
        return changed

    return alter


def _opened(message: Message) -> Message:
    opened = copy.copy(message)
    opened.content = RecordDict(dict(message.content))
    for name, record in message.content.array_records.items():
        found = unpack(record[PARCEL].numpy())
        opened.content[name] = ArrayRecord({key: Array(array) for key, array in found.items()})
    for name, metrics in message.content.metric_records.items():
        opened.content[name] = metrics.copy()
    return opened


class FakeFederation:
    """A federation of five clients, all of them in every round unless settings say otherwise."""

    def __init__(
        self,
        out: Path,
        app: ClientApp,
        aggregator: str = "fedavg",
        fail: Callable[[int, Message], str | None] = lambda client, message: None,
        method: str = "disco",
        clients: int = 5,
        grid: Callable[..., InProcessGrid] = InProcessGrid,
        **settings: Any,
    ) -> None:
        settings = {"clients_per_round": clients, "rounds": 9, "tasks": "imagenet-r"} | settings
        self.config = parse(run_config(Path("mini"), out, **settings) | {"model.name": "mini"})
        self.folder = RunFolder.create(out, flatten(self.config), {})
        self.grid = grid(app, clients, fail=fail)
        nodes = {self.grid.partition(node): node for node in self.grid.get_node_ids()}
        inner = make_aggregator(aggregator, self.config.aggregator_arguments)
        if method == "disco":
            self.strategy: Any = Disco(
                inner,
                lambda number: draw(SHAPES, 9, number),
                identity_timeout=self.config.client_timeout,
            )
            projector = to_record(draw(PROJECTOR, 7))
            self.arrays = write_bank(BankRecord(projector=projector))
        else:
            self.strategy = inner()
            self.arrays = to_record({f"adapter/{k}": a for k, a in draw(SHAPES, 9, 0).items()})
        journal = Journal(self.folder)
        known = ClientNodes(nodes, clients)
        self.loop = Federation(self.grid, known, self.strategy, self.config, journal)

    def round(self, number: int, stage: int = 1) -> ArrayRecord:
        """Play one round; the stages are as the first."""
        played = replace(make_stages(self.config)[0], number=stage)
        self.arrays = self.loop.train_round(self.arrays, played, number, lambda merged: None)
        return self.arrays

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The ledger's events of one kind."""
        return [event for event in self.folder.ledger.read() if event["event"] == kind]


def bits(record: ArrayRecord, only: Iterable[str] | None = None) -> dict[str, bytes]:
    """Bytes of a record's arrays, or of some of them."""
    return {k: record[k].numpy().tobytes() for k in (record if only is None else only)}
