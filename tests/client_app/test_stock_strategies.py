"""Flower's own loop drives our ClientApp: nothing of our ServerApp is needed."""

from __future__ import annotations

import pytest
from app_runs import run_config
from flwr.app import ConfigRecord
from flwr.serverapp.strategy import FedAvg
from in_process_grid import InProcessGrid

from client_app.app import app
from fcit_app.config import parse
from fcit_app.data.load import load_benchmark
from fcit_app.data.stages import client_samples, make_stages
from fcit_app.model.adapters import (
    initial_adapter,
    is_adapter,
    parameter_handles,
    read_parameters,
    wrap,
)
from fcit_app.model.base import load_base
from strategies import (
    BankRecord,
    Disco,
    initial_single,
    make_aggregator,
    read_bank,
    to_record,
    write_bank,
)


@pytest.fixture
def config(tiny_folder, tmp_path):
    return run_config(tiny_folder, tmp_path)


@pytest.fixture
def start(tiny_folder, config):
    settings = parse(config).train
    model = wrap(load_base(str(tiny_folder)), settings.rank, settings.scaling, settings.dropout)
    handles = parameter_handles(model, projector=True)
    projector = {name: handle for name, handle in handles.items() if not is_adapter(name)}
    return (lambda identifier: initial_adapter(handles, identifier)), read_parameters(projector)


def samples_of_stage(config, stage):
    settings = parse(config)
    chosen, benchmark = make_stages(settings)[stage - 1], load_benchmark(settings)
    return sum(len(client_samples(benchmark, settings, chosen, c, 3)) for c in range(3))


def test_fedavg(config, start):
    new_adapter, projector = start
    grid = InProcessGrid(app, 3, run_config=config)
    arrays = initial_single(new_adapter(0), projector)
    result = FedAvg(fraction_evaluate=0.0).start(grid, arrays, num_rounds=2, timeout=60)
    assert list(result.arrays) == list(arrays)
    assert set(result.train_metrics_clientapp) == {1, 2}
    losses = [metrics["train-loss"] for metrics in result.train_metrics_clientapp.values()]
    assert all(0 < loss < 100 for loss in losses)
    assert not any(reply.has_error() for reply in grid._replies.values())


def test_disco(config, start):
    new_adapter, projector = start
    grid = InProcessGrid(app, 3, run_config=config)
    disco = Disco(make_aggregator("fedavg"), new_adapter)
    arrays = write_bank(BankRecord(projector=to_record(projector)))
    for stage in (1, 2):
        settings = ConfigRecord({"stage": stage})
        result = disco.start(grid, arrays, num_rounds=2, timeout=60, train_config=settings)
        arrays = result.arrays
    bank = read_bank(arrays)
    assert {i: s.token.count for i, s in bank.subspaces.items()} == {
        0: samples_of_stage(config, 1),
        1: samples_of_stage(config, 2),
    }
    assert disco.rejected == []
    assert len(grid.sent_of("query.identity")) == 6
