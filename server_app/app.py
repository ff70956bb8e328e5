"""The Flower ServerApp: read the configuration, drive the loop, leave the run folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fcit_app.config import RunConfig, flatten, parse, relative_paths, resolve_paths
from fcit_app.data.catalogue import never_trained
from fcit_app.data.stages import Stage, make_stages, tasks_seen
from fcit_app.errors import reason_of
from fcit_app.preflight import foreseen
from fcit_app.runs import RunFolder, check_free, describe_environment, make_result
from server_app.journal import LOGGER, Journal
from server_app.nodes import gather_clients, prepare_clients
from server_app.plan import plan_round
from strategies.aggregators import check_aggregator

app = ServerApp()

_NODE_PATIENCE = 20.0
"""Seconds to wait for nodes that are not connected yet."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one method from the first stage to the last.

    What can be wrong at the start is told before there is a run folder: wrong values first, before
    torch is imported; then too few clients; then missing or damaged weights.
    """
    checks = [check_aggregator, relative_paths, foreseen]
    config = resolve_paths(parse(context.run_config, checks))
    check_free(Path(config.out))
    nodes: dict[int, int] = {}
    if config.federated:
        nodes = gather_clients(grid, config, _NODE_PATIENCE, LOGGER.info)
    from fcit_app.identity.encoders import load_encoder
    from fcit_app.model.base import load_base

    load_base(config.model)
    load_encoder(config.identity.encoder)
    folder = RunFolder.create(config.out, flatten(config), describe_environment())
    LOGGER.info("The run's folder is %s", folder.path)
    journal = Journal(folder)
    if config.federated:
        try:
            run_federated(grid, nodes, config, folder, journal)
        except Exception as error:
            journal.write("run-failed", reason=reason_of(error))
            raise
    else:
        from fcit_app.reference import run_reference
        from fcit_app.report import write_report

        run_reference(config, folder, journal.write)
        write_report([folder.path], folder.path / "report.html")
    LOGGER.info("The run's result and report are in %s", folder.path)


def run_federated(
    grid: Grid,
    nodes: Mapping[int, int],
    config: RunConfig,
    folder: RunFolder,
    journal: Journal,
) -> None:
    """Drive all stages of a federated method and write its result.

    Parameters
    ----------
    grid : Grid
        Flower's grid.
    nodes : Mapping[int, int]
        Client to node.
    config : RunConfig
        The run's configuration; its method is a federated one.
    folder : RunFolder
        Where state, result and report go.
    journal : Journal
        Where events go.

    Raises
    ------
    FcitError
        If the run cannot go on; says why and how to mend it.
    """
    # Only now: they import torch and matplotlib.
    from fcit_app.data.load import load_benchmark
    from fcit_app.report import write_report
    from server_app.learning import Learning
    from server_app.loop import Federation

    started = time.perf_counter()
    stages = make_stages(config)
    tasks = tasks_seen(stages, len(stages))
    journal.write(
        "run-started",
        method=config.method,
        stages=[stage.name for stage in stages],
        rounds=config.rounds,
        clients=len(nodes),
        columns=[len(tasks_asked(config, stages, stage.number)) for stage in stages],
    )
    first = plan_round(config, nodes, stages[0], 1).participants
    prepare_clients(grid, [nodes[client] for client in first], config.client_timeout)
    learning = Learning(config, load_benchmark(config), journal)
    learning.strategy.summary()
    learning.measure_zero_shot(tasks, never_trained(config.evaluate.unseen, tasks))
    federation = Federation(grid, nodes, learning.strategy, config, journal)
    arrays = learning.initial
    for stage in stages:
        # In the ledger, so that a run can be told without its scenario's file.
        lessons = {} if config.scenario == "hom" else {"lessons": stage.timetable.facts()}
        journal.write("stage-started", stage=stage.number, tasks=list(stage.tasks), **lessons)
        for number in range(1, config.rounds + 1):
            save = partial(learning.save, folder, stage, number)
            arrays = federation.train_round(arrays, stage, number, save)
        arrays = federation.finish_stage(arrays, stage)
        analysis = learning.evaluate(
            arrays,
            stage,
            tasks_asked(config, stages, stage.number),
            seen=len(tasks_seen(stages, stage.number)),
            trained=federation.totals.tasks_of_subspaces(),
            last=stage is stages[-1],
        )
        folder.write_analysis(analysis)
    totals = federation.totals
    result = make_result(
        config,
        tasks=tasks,
        **learning.scores(),
        subspaces=learning.subspaces(arrays, totals.samples),
        seconds={
            "train": totals.seconds["train"],
            "aggregate": totals.seconds["aggregate"],
            "evaluate": learning.evaluate_seconds,
            "total": time.perf_counter() - started,
        },
        traffic={"up": totals.up, "down": totals.down},
    )
    folder.write_result(result)
    write_report([folder.path], folder.path / "report.html")
    journal.say(totals.overhead())
    finished = ("last", "avg", "seconds", "bytes")
    journal.write("run-finished", **{key: result[key] for key in finished})


def tasks_asked(config: RunConfig, stages: Sequence[Stage], until: int) -> tuple[str, ...]:
    """Tasks that are scored after stage number ``until``, those seen by then first."""
    whole = tasks_seen(stages, len(stages))
    seen = whole if config.evaluate.transfer else tasks_seen(stages, until)
    return (*seen, *never_trained(config.evaluate.unseen, whole))
