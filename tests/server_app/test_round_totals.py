"""Totals of a run, and rounds with any Flower strategy."""

from __future__ import annotations

import numpy as np
import pytest
from app_runs import run_config
from flwr.serverapp import strategy as stock
from in_process_grid import InProcessGrid

from client_app.app import app as client_app
from client_app.node import worker_of
from fcit_app.config import flatten, parse
from fcit_app.data.stages import make_stages
from fcit_app.errors import RunError
from fcit_app.model.adapters import initial_adapter, parameter_handles, wrap
from fcit_app.model.base import load_base
from fcit_app.runs import RunFolder
from server_app.journal import Journal
from server_app.loop import Federation
from server_app.nodes import ClientNodes
from server_app.totals import PHASES, Totals
from strategies.single import initial_single


def test_totals_add_up():
    totals = Totals()
    one = dict(zip(PHASES, (1.0, 5.0, 2.0, 0.5, 1.0, 0.5), strict=True))
    totals.add_seconds(one)
    totals.add_seconds(one)
    assert totals.seconds == {phase: 2 * value for phase, value in one.items()}
    assert totals.overhead() == (
        "outside client training: 50.0 % of the rounds' time "
        "(configure 10.0 %, wait 20.0 %, guard 5.0 %, aggregate 10.0 %, save 5.0 %)"
    )


def test_totals_of_nothing():
    assert Totals().overhead().startswith("outside client training: 0.0 % of the rounds' time (")


def test_a_client_counts_once_a_stage_and_subspace():
    totals = Totals()
    for _ in range(3):
        totals.add_samples(2, 1, client=4, examples={"figureqa": 20, "dvqa": 3})
    totals.add_samples(2, 1, client=2, examples={"figureqa": 7})
    totals.add_samples(3, 1, client=2, examples={"figureqa": 5})
    assert totals.samples == {
        1: {"figureqa": {(2, 4): 20, (2, 2): 7, (3, 2): 5}, "dvqa": {(2, 4): 3}}
    }


@pytest.fixture
def federation(tiny_folder, tmp_path):
    """Makes a federation of five clients around a strategy."""
    flat = run_config(tiny_folder, tmp_path / "run", method="finetune", rounds=3)
    config = parse(flat)
    journal = Journal(RunFolder.create(tmp_path / "run", flatten(config), {}))
    grid = InProcessGrid(client_app, 5, run_config=flat)
    base = load_base(str(tiny_folder))
    model = wrap(base, config.train.rank, config.train.scaling, config.train.dropout)
    start = initial_single(initial_adapter(parameter_handles(model, False), 0))
    nodes = ClientNodes({grid.partition(node): node for node in grid.get_node_ids()}, 5)
    return lambda strategy: (
        Federation(grid, nodes, strategy, config, journal),
        start,
        make_stages(config)[0],
    )


@pytest.mark.parametrize("name", ["FedAvg", "FedAdam", "FedAvgM", "FedMedian"])
def test_any_flower_strategy_drives_several_rounds(federation, name):
    strategy = getattr(stock, name)(fraction_evaluate=0.0)
    loop, arrays, stage = federation(strategy)
    saved = []
    for number in (1, 2, 3):
        arrays = loop.train_round(arrays, stage, number, saved.append)
    assert len(saved) == 3
    assert saved[-1] is arrays
    assert {array.dtype for array in arrays.values()} == {"float32"}
    assert all(np.isfinite(array.numpy()).all() for array in arrays.values())


def test_a_strategy_that_waits_for_more_nodes_than_a_round_has_is_told(federation, monkeypatch):
    monkeypatch.setattr("flwr.serverapp.strategy.strategy_utils.sleep", lambda seconds: None)
    loop, arrays, stage = federation(stock.FedAvg(min_available_nodes=4))
    with pytest.raises(RunError, match="keeps waiting for more nodes than the 2 it has"):
        loop.train_round(arrays, stage, 1, lambda merged: None)


def test_the_worker_is_the_same_for_the_same_configuration(tiny_folder, tmp_path):
    flat = run_config(tiny_folder, tmp_path)
    assert worker_of(flat) is worker_of(dict(reversed(flat.items())))
