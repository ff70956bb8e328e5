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
from in_process_grid import InProcessGrid

ROUNDS = 4


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


def test_one_subspace_is_stock_fedavg():
    app = client_app()
    bank = play(make_disco(), InProcessGrid(app, 4), empty_bank(), rounds=5)
    same_bits(adapter_of(bank, 0), stock_alone("FedAvg", app, [0, 1, 2, 3], new_adapter(0), 5))


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
