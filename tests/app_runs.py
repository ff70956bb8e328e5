"""Whole runs of the real ServerApp and ClientApp in this process, small enough for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from in_process_grid import InProcessGrid

from fcit_app.runs import RunFolder

SMALL = {
    "preset": "mini-smoke",
    "train.steps": 2,
    "train.rank": 2,
    "train.batch-size": 4,
    "data.train-samples": 40,
    "data.test-samples": 4,
    "data.min-samples": 4,
    "client-timeout": 60.0,
}
"""Settings of a run that takes about a second."""


def run_config(model: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """Flat run configuration; in the names of changes ``__`` is a dot and ``_`` a dash."""
    named = {k.replace("__", ".").replace("_", "-"): v for k, v in changes.items()}
    return {**SMALL, "model.name": str(model), "out": str(out), **named}


def context_of(config: dict[str, Any], **node_config: Any) -> Context:
    """Context that Flower gives an app."""
    return Context(
        run_id=1, node_id=1, node_config=node_config, state=RecordDict(), run_config=dict(config)
    )


def serve(config: dict[str, Any], grid: InProcessGrid | None = None, **grid_settings: Any):
    """Run the ServerApp on a grid (of five clients, if none is given); the run's folder."""
    from client_app.app import app as client_app
    from server_app.app import app as server_app

    grid = grid or InProcessGrid(client_app, 5, run_config=config, **grid_settings)
    server_app(grid, context_of(config))
    return RunFolder(Path(config["out"]))


Change = Callable[[int, Message, Message], Message]
"""From client, message and honest reply to the reply."""


def as_it_is(client: int, message: Message, reply: Message) -> Message:
    """No change."""
    return reply


def altered(
    train: Change = as_it_is, identity: Change = as_it_is, evaluate: Change = as_it_is
) -> ClientApp:
    """The real ClientApp; its replies pass through the changes."""
    from client_app.app import app as client_app

    app = ClientApp()

    def handler(change: Change) -> Callable[[Message, Context], Message]:
        def handle(message: Message, context: Context) -> Message:
            reply = client_app(message=message, context=context)
            return change(int(context.node_config["partition-id"]), message, reply)

        return handle

    app.query("hello")(handler(lambda client, message, reply: reply))
    app.query("identity")(handler(identity))
    app.train()(handler(train))
    app.evaluate()(handler(evaluate))
    return app


def events(folder: RunFolder, kind: str) -> list[dict[str, Any]]:
    """The ledger's events of one kind."""
    return [event for event in folder.ledger.read() if event["event"] == kind]
