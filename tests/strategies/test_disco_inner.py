import pickle

import numpy as np
import pytest
from fake_clients import (
    INNERS,
    adapter_of,
    client_app,
    empty_bank,
    initial_projector,
    make_disco,
    new_adapter,
    play,
    stock_alone,
)
from flwr.app import ArrayRecord, RecordDict
from flwr.serverapp import strategy as stock
from in_process_grid import InProcessGrid

from strategies.aggregators import AGGREGATORS, make_aggregator

ROUNDS = 4
SAMPLING = {
    "fraction_train": 1.0,
    "fraction_evaluate": 0.0,
    "min_train_nodes": 1,
    "min_evaluate_nodes": 0,
    "min_available_nodes": 1,
}
NAMED = {
    "fedavg": ("FedAvg", {}, ""),
    "fedavgm": (
        "FedAvgM",
        {"server_momentum": 0.9, "server_learning_rate": 0.5},
        "server_learning_rate=0.5, server_momentum=0.9",
    ),
    "fedadam": ("FedAdam", {"eta": 0.2, "beta_1": 0.8}, "eta=0.2, beta_1=0.8"),
    "fedyogi": ("FedYogi", {"eta": 0.03, "tau": 1e-2}, "eta=0.03, tau=1e-2"),
    "fedadagrad": ("FedAdagrad", {"eta": 0.3}, "eta=0.3"),
    "fedprox": ("FedProx", {"proximal_mu": 0.3}, "proximal_mu=0.3"),
    "fedmedian": ("FedMedian", {}, ""),
    "fedtrimmedavg": ("FedTrimmedAvg", {"beta": 0.4}, "beta=0.4"),
    "krum": ("Krum", {"num_malicious_nodes": 1}, "num_malicious_nodes=1"),
    "multikrum": (
        "MultiKrum",
        {"num_malicious_nodes": 1, "num_nodes_to_select": 3},
        "num_malicious_nodes=1, num_nodes_to_select=3",
    ),
    "bulyan": ("Bulyan", {"num_malicious_nodes": 1}, "num_malicious_nodes=1"),
}
"""Name in the configuration to Flower's class, its arguments, and how a user writes them."""


def same_bits(one, other):
    assert list(one) == list(other)
    for name in one:
        assert one[name].dtype == other[name].dtype == "float32"
        assert one[name].tobytes() == other[name].tobytes(), name


@pytest.mark.parametrize("inner", INNERS)
def test_two_subspaces_are_two_stock_strategies_run_alone(inner):
    app = client_app(lambda client, stage: client % 2)
    grid = InProcessGrid(app, 6, reorder=lambda replies: replies[::-1])
    bank = play(make_disco(inner), grid, empty_bank(), rounds=ROUNDS)
    for identifier, clients in ((0, [0, 2, 4]), (1, [1, 3, 5])):
        alone = stock_alone(inner, app, clients, new_adapter(identifier), ROUNDS)
        same_bits(adapter_of(bank, identifier), alone)


@pytest.mark.parametrize("inner", INNERS)
def test_a_shared_projector_is_one_stock_strategy_over_all(inner):
    app = client_app(lambda client, stage: client % 2)
    bank = play(make_disco(inner), InProcessGrid(app, 5), empty_bank(), rounds=ROUNDS)
    alone = stock_alone(inner, app, list(range(5)), initial_projector(), ROUNDS)
    same_bits({"projector.weight": bank["projector/projector.weight"].numpy()}, alone)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_one_subspace_is_the_stock_strategy(name):
    class_name, given, written = NAMED[name]
    settings = {**AGGREGATORS[name].defaults, **given}
    app = client_app()
    disco = make_disco(make_aggregator(name, written))
    bank = play(disco, InProcessGrid(app, 7), empty_bank(), rounds=5)
    alone = stock_alone(
        lambda: getattr(stock, class_name)(**SAMPLING, **settings),
        app,
        list(range(7)),
        new_adapter(0),
        5,
    )
    same_bits(adapter_of(bank, 0), alone)
    inner = disco.inners[0].strategy
    assert type(inner) is getattr(stock, class_name)
    assert {key: getattr(inner, key) for key in settings} == settings


@pytest.mark.parametrize("name", AGGREGATORS)
def test_subspaces_share_no_state(name):
    def topic(client, stage):
        return client % 2 if stage == 1 else 0

    app = client_app(topic)
    disco, grid = make_disco(make_aggregator(name)), InProcessGrid(app, 6)
    bank = play(disco, grid, empty_bank(), stage=1, rounds=2)
    one, other = disco.inners[0], disco.inners[1]
    shared = [
        key
        for key, value in vars(one.strategy).items()
        if isinstance(value, (dict, list, np.ndarray, ArrayRecord))
        and value is vars(other.strategy)[key]
    ]
    assert one.strategy is not other.strategy
    assert shared == []
    # The second subspace has no participants in the next stage.
    idle, before = disco.inners[1], pickle.dumps(disco.inners[1])
    bits = {key: array.tobytes() for key, array in adapter_of(bank, 1).items()}
    bank = play(disco, grid, bank, stage=2, rounds=2, first_round=3)
    assert disco.inners[0].rounds == 4
    assert disco.inners[1] is idle
    assert pickle.dumps(idle) == before
    assert {key: array.tobytes() for key, array in adapter_of(bank, 1).items()} == bits


@pytest.mark.parametrize("name", AGGREGATORS)
def test_a_strategy_taken_up_again_goes_on_to_the_same_bits(name):
    """Its whole state is in its attributes: nothing hides where a checkpoint could not see it."""
    app = client_app()
    through = play(make_disco(make_aggregator(name)), InProcessGrid(app, 3), empty_bank(), rounds=4)
    first = make_disco(make_aggregator(name))
    bank = play(first, InProcessGrid(app, 3), empty_bank(), rounds=2)
    kept = pickle.dumps((first.inners, first.projector_inner))
    second = make_disco(make_aggregator(name))
    second.inners, second.projector_inner = pickle.loads(kept)
    bank = play(second, InProcessGrid(app, 3), bank, rounds=2, first_round=3)
    same_bits(adapter_of(bank, 0), adapter_of(through, 0))


@pytest.mark.parametrize("inner", ["FedAdam", "FedAvgM", "FedYogi"])
def test_a_subspace_that_starts_late_counts_its_own_rounds(inner):
    def topic(client, stage):
        return stage

    app = client_app(topic)
    disco, grid, bank = make_disco(inner), InProcessGrid(app, 3), empty_bank()
    bank = play(disco, grid, bank, stage=1, rounds=3)
    bank = play(disco, grid, bank, stage=2, rounds=2, first_round=4)
    same_bits(adapter_of(bank, 1), stock_alone(inner, app, [0, 1, 2], new_adapter(1), 2))


@pytest.mark.parametrize("inner", INNERS)
def test_the_order_of_a_replys_arrays_does_not_matter(inner):
    app = client_app()

    def backwards(replies):
        turned = []
        for reply in replies:
            if "adapter" in reply.content:
                records = RecordDict(dict(reply.content))
                adapter = reply.content["adapter"]
                records["adapter"] = ArrayRecord(
                    {key: adapter[key] for key in reversed(list(adapter))}
                )
                reply.content = records
            turned.append(reply)
        return turned

    grid = InProcessGrid(app, 3, reorder=backwards)
    bank = play(make_disco(inner), grid, empty_bank(), rounds=2)
    same_bits(adapter_of(bank, 0), stock_alone(inner, app, [0, 1, 2], new_adapter(0), 2))
