"""The Flower ServerApp: read the configuration, drive the loop, leave the run folder."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fcit_app.config import RunConfig, check_clients, flatten, parse, resolve_paths
from fcit_app.data.load import load_benchmark
from fcit_app.data.stages import make_stages, tasks_seen
from fcit_app.report import write_report
from fcit_app.runs import RunFolder, describe_environment, make_result
from server_app.journal import Journal
from server_app.loop import Federation
from server_app.nodes import ask_clients, wait_for_nodes

app = ServerApp()

_NODE_PATIENCE = 20.0
"""Seconds to wait for nodes that are not connected yet."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one method from the first stage to the last."""
    config = resolve_paths(parse(context.run_config))
    folder = RunFolder.create(config.out, flatten(config), describe_environment())
    journal = Journal(folder)
    try:
        if config.federated:
            run_federated(grid, config, folder, journal)
        else:
            from fcit_app.reference import run_reference

            run_reference(config, folder, journal.write)
    except Exception as error:
        journal.write("run-failed", reason=str(error) or type(error).__name__)
        raise


def run_federated(grid: Grid, config: RunConfig, folder: RunFolder, journal: Journal) -> None:
    """Drive all stages of a federated method and write its result.

    Raises
    ------
    FcitError
        If the run cannot start or go on; says why and how to mend it.
    """
    started = time.perf_counter()
    stages = make_stages(config)
    journal.write(
        "run-started",
        method=config.method,
        stages=[stage.name for stage in stages],
        rounds=config.rounds,
        clients=None,
    )
    nodes = wait_for_nodes(grid, config.clients_per_round, _NODE_PATIENCE, journal.say)
    check_clients(config, len(nodes))
    clients = ask_clients(grid, nodes, config.clients_per_round, config.client_timeout)
    journal.say(f"{len(clients)} clients; {config.clients_per_round} take part in each round")

    # Only now: what is wrong with configuration or nodes is told before torch is imported.
    from server_app.learning import Learning

    learning = Learning(config, load_benchmark(config), journal)
    learning.measure_zero_shot(tasks_seen(stages, len(stages)))
    federation = Federation(grid, clients, learning.strategy, config, journal)
    arrays = learning.initial
    for stage in stages:
        journal.write("stage-started", stage=stage.number, tasks=list(stage.tasks))
        for number in range(1, config.rounds + 1):
            save = partial(learning.save, folder, stage, number)
            arrays = federation.train_round(arrays, stage, number, save)
        learning.evaluate(arrays, stage, tasks_seen(stages, stage.number))
    result = make_result(
        config,
        tasks=tasks_seen(stages, len(stages)),
        **learning.scores(),
        subspaces=learning.subspaces(arrays, federation.totals.samples),
        seconds={
            "train": federation.totals.seconds["train"],
            "aggregate": federation.totals.seconds["aggregate"],
            "evaluate": learning.evaluate_seconds,
            "total": time.perf_counter() - started,
        },
        traffic={"up": federation.totals.up, "down": federation.totals.down},
    )
    folder.write_result(result)
    write_report([folder.path], folder.path / "report.html")
    journal.say(federation.totals.overhead())
    journal.write(
        "run-finished",
        last=result["last"],
        avg=result["avg"],
        seconds=result["seconds"],
        bytes=result["bytes"],
    )
