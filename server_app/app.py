"""The Flower ServerApp: read the configuration, drive the loop, leave the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp

from fcit_app.config import RunConfig, flatten, parse, relative_paths, resolve_paths
from fcit_app.data.catalogue import never_trained
from fcit_app.data.lesson import lesson_text
from fcit_app.data.stages import Stage, make_stages, tasks_seen
from fcit_app.errors import RunFolderError, reason_of
from fcit_app.preflight import foreseen
from fcit_app.runs import (
    RESUME,
    RunFolder,
    SavedState,
    check_free,
    describe_environment,
    events_that_stand,
    how_to_go_on,
    locked,
    make_result,
)
from fcit_app.runs.stop import forget_stop
from fcit_app.runs.token_book import TokenBook
from fcit_app.tracking import tracked
from server_app.journal import LOGGER, Journal
from server_app.nodes import ClientNodes, gather_clients, prepare_clients
from server_app.place import EVALUATED, FINISHED, ROUND
from server_app.plan import plan_round
from server_app.private_releases import in_words as private_words
from server_app.private_releases import privacy_facts
from server_app.private_tasks import not_evaluated, private_facts, with_private_tasks
from server_app.quarantine import in_words, quarantined
from server_app.resume import open_run, same_clients, same_data
from server_app.skipped import tell_of_test_samples
from server_app.stop import RunStopped, stop_if_asked
from strategies.aggregators import check_aggregator

if TYPE_CHECKING:  # they import torch
    from server_app.checkpoint import Checkpoint
    from server_app.learning import Learning
    from server_app.loop import Federation

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
    with ExitStack() as held:
        _run(grid, config, held)


def _run(grid: Grid, config: RunConfig, held: ExitStack) -> None:
    """Begin the run or go on with it; ``held`` keeps others from its folder."""
    folder: RunFolder | None = None
    saved: SavedState | None = None
    accepted: list[str] = []
    if config.resume:
        held.enter_context(locked(path := RunFolder(Path(config.resume)).path, "run"))
        forget_stop(path)  # at once: whoever asks from now on means this run
        folder, saved, accepted = open_run(config)
        if folder.has_result:
            LOGGER.info("The run in %s has finished; there is nothing left to do", folder.path)
            return
    else:
        check_free(Path(config.out))
    nodes = ClientNodes({}, 0)
    if config.federated:
        nodes = gather_clients(grid, config, _NODE_PATIENCE, LOGGER.info)
        if saved:
            here = same_clients(nodes, nodes.shares, saved, private_facts(nodes.private))
            nodes = nodes.only(here)
    from fcit_app.identity.encoders import load_encoder
    from fcit_app.model.adapters import check_projector
    from fcit_app.model.base import load_base

    check_projector(load_base(config.model), config.projector)
    load_encoder(config.identity.encoder)
    if folder is None:
        folder = RunFolder.create(config.out, flatten(config), describe_environment())
        held.enter_context(locked(folder.path, "run"))
    held.callback(forget_stop, folder.path)
    folder.ledger.cut_torn_line()
    LOGGER.info("The run's folder is %s", folder.path)
    held.enter_context(tracked(folder, config.tracking))
    journal = Journal(folder)
    if config.federated:
        try:
            run_federated(grid, nodes, config, folder, journal, saved, accepted)
        except RunStopped:
            journal.write("run-stopped")
            LOGGER.info(how_to_go_on(folder.path, deployed=True))
            return
        except Exception as error:
            with suppress(RunFolderError):  # what is full or read-only is the error itself
                journal.write("run-failed", reason=reason_of(error))
            LOGGER.info(how_to_go_on(folder.path, deployed=True))
            raise
    else:
        from fcit_app.reference import run_reference
        from fcit_app.report import write_report

        run_reference(config, folder, journal.write)
        write_report([folder.path], folder.path / "report.html")
    LOGGER.info("The run's result and report are in %s", folder.path)


def run_federated(
    grid: Grid,
    nodes: ClientNodes,
    config: RunConfig,
    folder: RunFolder,
    journal: Journal,
    saved: SavedState | None = None,
    accepted: Sequence[str] = (),
) -> None:
    """Drive all stages of a federated method and write its result.

    Parameters
    ----------
    grid : Grid
        Flower's grid.
    nodes : ClientNodes
        Client to node.
    config : RunConfig
        The run's configuration; its method is a federated one.
    folder : RunFolder
        Where state, result and report go.
    journal : Journal
        Where events go.
    saved : SavedState, optional
        What the run goes on from; from the beginning if None.
    accepted : Sequence[str]
        What differs from before the run was interrupted.

    Raises
    ------
    FcitError
        If the run cannot go on; says why and how to mend it.
    RunStopped
        If somebody has asked the run to stop; it is saved as of its latest step.
    """
    # Only now: they import torch and matplotlib.
    from fcit_app.data.fingerprint import data_fingerprint
    from fcit_app.data.load import load_benchmark, skipped_test
    from fcit_app.evaluate.statistics import caption_facts, name_metrics
    from fcit_app.report import write_report
    from server_app.checkpoint import Checkpoint
    from server_app.evaluation import shared_evaluation
    from server_app.learning import Learning
    from server_app.loop import Federation

    stages = with_private_tasks(make_stages(config), nodes.private, config.data.root)
    tasks = tasks_seen(stages, len(stages))
    begun = {
        "method": config.method,
        "stages": [stage.name for stage in stages],
        "rounds": config.rounds,
        "clients": len(nodes),
        "columns": [len(tasks_asked(config, stages, stage.number)) for stage in stages],
    }
    if not config.resume:
        journal.write("run-started", **begun)
    _tell_of_own_data(nodes, config, journal)
    first = plan_round(config, nodes, stages[0], 1).participants
    prepare_clients(grid, [nodes[client] for client in first], config.client_timeout)
    benchmark = load_benchmark(config)
    asked = tasks_asked(config, stages, len(stages))
    metrics = name_metrics(benchmark, asked, config.evaluate.scoring)
    data = data_fingerprint(config, benchmark, asked, nodes.shares) | caption_facts(metrics)
    tell_of_test_samples(skipped_test(benchmark), journal.write)
    if saved:
        same_data(folder, saved, data)
    learning = Learning(config, benchmark, journal)
    learning.strategy.summary()
    federation = Federation(grid, nodes, learning.strategy, config, journal)
    federation.tokens = TokenBook(folder.path)
    learning.shared = shared_evaluation(
        grid, config, benchmark, learning.evaluator, journal, federation, folder
    )
    facts = {
        "shares": nodes.shares,
        "data": data,
        "private": private_facts(nodes.private),
    }
    checkpoint = Checkpoint(folder, learning, federation, journal, facts)
    arrays = checkpoint.load(saved) if saved else learning.initial
    if config.resume:
        journal.write("run-resumed", **begun, **_resumed(folder, saved, accepted))
    if saved is None:
        with federation.asking_ahead(stages[0]):
            learning.measure_zero_shot(tasks, never_trained(config.evaluate.unseen, tasks))
    arrays = _run_stages(config, stages, folder, journal, learning, federation, checkpoint, arrays)
    totals = federation.totals
    privacy = privacy_facts(config, folder.ledger.read())
    result = make_result(
        config,
        tasks=tasks,
        **learning.scores(),
        subspaces=learning.subspaces(arrays, totals.samples),
        seconds={
            "train": totals.seconds["train"],
            "aggregate": totals.seconds["aggregate"],
            "evaluate": learning.evaluate_seconds,
            "total": checkpoint.seconds,
        },
        traffic={"up": totals.up, "down": totals.down},
        metrics={task: metrics[task] for task in tasks},
        privacy=privacy,
    )
    folder.write_result(result)
    write_report([folder.path], folder.path / "report.html")
    journal.say(totals.overhead())
    if privacy:
        journal.write("privacy-spent", **privacy)
        for line in private_words(privacy):
            journal.say(line)
    refused = quarantined(events_that_stand(folder.ledger.read()))
    for entry in refused:
        journal.say(in_words(entry))
    finished = ("last", "avg", "seconds", "bytes")
    journal.write("run-finished", **{key: result[key] for key in finished}, quarantined=refused)


def _run_stages(
    config: RunConfig,
    stages: Sequence[Stage],
    folder: RunFolder,
    journal: Journal,
    learning: Learning,
    federation: Federation,
    checkpoint: Checkpoint,
    arrays: ArrayRecord,
) -> ArrayRecord:
    """Do what is left to do of all stages, keeping the run after each step."""
    from fcit_app.report import write_report  # only now: it imports matplotlib

    done = checkpoint.place
    for stage, following in zip(stages, [*stages[1:], None], strict=True):
        if not done.covers(stage.number, 1):
            # In the ledger, so that a run can be told without its scenario's file.
            lessons: dict[str, object] = (
                {} if config.scenario == "hom" else {"lessons": stage.timetable.facts()}
            )
            private = {str(c): lesson_text(lesson) for c, lesson in stage.private.items() if lesson}
            lessons |= {"private": private} if private else {}
            journal.write("stage-started", stage=stage.number, tasks=list(stage.tasks), **lessons)
        for number in range(1, config.rounds + 1):
            if not done.covers(stage.number, number):
                stop_if_asked(folder)
                save = partial(checkpoint.save, stage=stage, number=number)
                arrays = federation.train_round(arrays, stage, number, save)
        if federation.wants_finish and not done.covers(stage.number, FINISHED):
            stop_if_asked(folder)
            arrays = federation.finish_stage(arrays, stage)
            checkpoint.save(arrays, stage, config.rounds, FINISHED)
        if not done.covers(stage.number, EVALUATED):
            stop_if_asked(folder)
            with federation.asking_ahead(following):
                analysis = learning.evaluate(
                    arrays,
                    stage,
                    tasks_asked(config, stages, stage.number),
                    seen=len(tasks_seen(stages, stage.number)),
                    trained=federation.totals.tasks_of_subspaces(),
                    last=following is None,
                )
            folder.write_analysis(analysis)
            checkpoint.save(arrays, stage, config.rounds, EVALUATED)
            write_report([folder.path], folder.path / "report.html")
    return arrays


def _tell_of_own_data(nodes: ClientNodes, config: RunConfig, journal: Journal) -> None:
    """Name the nodes that are left out, and the tasks that nobody can evaluate here."""
    for node, reason in nodes.left_out.items():
        journal.say(f"node {node} takes no part: {reason}")
    for name in not_evaluated(nodes.private, config.data.root):
        journal.say(
            f"{name} is learnt, but not evaluated on the server: data.root has no {name}/test.json"
        )


def _resumed(
    folder: RunFolder, saved: SavedState | None, accepted: Sequence[str]
) -> dict[str, Any]:
    """Say in the ledger where a run goes on, and which of its events the state stands for."""
    if saved is None:
        return {"stage": 1, "round": 0, "step": ROUND, "events": 0, "accepted": list(accepted)}
    meta, events = saved.meta, saved.meta[RESUME]["events"]
    place = {key: meta[key] for key in ("stage", "round", "step")}
    # A round is saved before it is reported, for its report tells how long saving took.
    following = folder.ledger.read()[events : events + 1]
    if any(event["event"] == "round-finished" for event in following):
        events += 1
    note = {"note": saved.note} if saved.note else {}
    return {**place, "events": events, "accepted": list(accepted), **note}


def tasks_asked(config: RunConfig, stages: Sequence[Stage], until: int) -> tuple[str, ...]:
    """Tasks that are scored after stage number ``until``, those seen by then first."""
    whole = tasks_seen(stages, len(stages))
    seen = whole if config.evaluate.transfer else tasks_seen(stages, until)
    return (*seen, *never_trained(config.evaluate.unseen, whole))
