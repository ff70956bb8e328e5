"""Whole runs with other aggregators than FedAvg, in this process."""

from __future__ import annotations

import numpy as np
import pytest
from app_runs import run_config, serve
from flwr.serverapp.strategy import FedAvg
from in_process_grid import InProcessGrid

from client_app.app import app as client_app
from fcit_app.errors import ConfigError
from strategies.aggregators import AGGREGATORS


class OwnAverage(FedAvg):
    """Somebody's own class; nothing in the table knows it."""


OWN = f"{__name__}:OwnAverage"


@pytest.mark.parametrize("method", ["disco", "finetune"])
@pytest.mark.parametrize("aggregator", [*AGGREGATORS, OWN])
def test_every_aggregator_runs_to_the_end(tiny_folder, tmp_path, method, aggregator):
    config = run_config(
        tiny_folder,
        tmp_path / "run",
        method=method,
        aggregator=aggregator,
        rounds=2,
        clients_per_round=3,
        tasks="imagenet-r",
    )
    folder = serve(config)
    result = folder.read_result()
    assert result.aggregator == aggregator
    assert result.last is not None
    arrays, _ = folder.load_state()
    assert {array.dtype for name, array in arrays.items() if "lora" in name} == {np.dtype("f4")}
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_arguments_are_kept_with_the_run_and_decide_it(tiny_folder, tmp_path):
    states = []
    for eta in (0.01, 0.1):
        config = run_config(
            tiny_folder,
            tmp_path / str(eta),
            aggregator="fedyogi",
            aggregator__arguments=f"eta={eta}",
            tasks="imagenet-r",
        )
        folder = serve(config)
        assert folder.read_config()["aggregator.arguments"] == f"eta={eta}"
        states.append(folder.load_state()[0])
    small, large = states
    assert any((small[name] != large[name]).any() for name in small if "lora" in name)


@pytest.mark.parametrize("method", ["disco", "finetune"])
def test_fedprox_tells_every_client_its_mu(tiny_folder, tmp_path, method):
    config = run_config(
        tiny_folder,
        tmp_path / "run",
        method=method,
        aggregator="fedprox",
        aggregator__arguments="proximal_mu=0.5",
        tasks="imagenet-r",
    )
    grid = InProcessGrid(client_app, 5, run_config=config)
    serve(config, grid)
    sent = grid.sent_of("train")
    assert [message.content["config"]["proximal-mu"] for message in sent] == [0.5] * len(sent)
    assert len(sent) == 2


def test_too_few_clients_for_krum_leave_no_folder(tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", aggregator="krum", clients_per_round=2)
    grid = InProcessGrid(client_app, 5, run_config=config)
    with pytest.raises(ConfigError, match=r"krum needs at least 3 clients a round .*per-round = 2"):
        serve(config, grid)
    assert grid.sent == []
    assert not (tmp_path / "run").exists()
