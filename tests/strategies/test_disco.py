import random

import numpy as np
import pytest
from fake_clients import (
    adapter_of,
    as_bits,
    client_app,
    count_of,
    empty_bank,
    flower_log,
    initial_projector,
    make_disco,
    moved,
    new_adapter,
    play,
    samples,
    subspaces_of,
    token_of,
    token_total,
)
from flwr.app import ConfigRecord
from flwr.serverapp.strategy import FedAvg
from in_process_grid import InProcessGrid

from fcit_app.errors import ConfigError, ModelError, RunError
from strategies import Disco, to_record


def by_parity(client, stage):
    return client % 2


def two_stages(client, stage):
    return client % 2 + 2 * (stage - 1)


def result(nodes, partitions, reorder, inner):
    grid = InProcessGrid(client_app(two_stages), partitions, nodes=nodes, reorder=reorder)
    disco, bank = make_disco(inner), empty_bank()
    for stage in (1, 2, 1):
        bank = play(disco, grid, bank, stage=stage, rounds=2)
    return bank, disco


@pytest.mark.parametrize("inner", ["FedAvg", "FedAdam", "Krum"])
def test_the_order_of_nodes_and_replies_never_changes_a_result(inner):
    expected, _ = result([10, 11, 12, 13, 14], [0, 1, 2, 3, 4], lambda r: r, inner)
    generator = random.Random(0)
    for _ in range(4):
        nodes = generator.sample(range(2, 10**6), 5)
        partitions = generator.sample(range(5), 5)
        shuffled, disco = result(nodes, partitions, lambda r: generator.sample(r, len(r)), inner)
        assert as_bits(shuffled) == as_bits(expected)
        assert list(shuffled) == list(expected)
        assert disco.assignment == {0: 0, 1: 1, 2: 0, 3: 1, 4: 0}


def test_clients_that_return_the_model_leave_it_unchanged():
    app = client_app(by_parity, count=lambda client: 8, train=lambda array, client, name: array)
    grid = InProcessGrid(app, 4)
    bank = play(make_disco(), grid, empty_bank(), rounds=3)
    for identifier in (0, 1):
        for name, array in new_adapter(identifier).items():
            assert (adapter_of(bank, identifier)[name] == array).all()
    for name, array in initial_projector().items():
        assert (bank[f"projector/{name}"].numpy() == array).all()


def test_samples_count_once_a_stage_or_in_each_round():
    """Ours, and the released code's third branch."""
    topics = client_app(lambda client, stage: 0)
    tokens = {}
    for count, rounds in (("stage", 1), ("stage", 3), ("round", 1), ("round", 3)):
        grid, disco = InProcessGrid(topics, 3), make_disco(count=count)
        bank = play(disco, grid, empty_bank(), rounds=rounds)
        tokens[count, rounds] = (count_of(bank, 0), token_of(bank, 0).tolist())
    once = sum(samples(client) for client in range(3))
    assert tokens["stage", 1] == tokens["stage", 3] == tokens["round", 1]
    assert tokens["round", 3] == (3 * once, token_total(0, 3 * once).tolist())


def test_who_is_there_in_more_rounds_weighs_more_if_rounds_count():
    def halves(client, stage):
        total = token_total(0, samples(client))
        total[client] += samples(client)
        return total

    directions = {}
    for count in ("stage", "round"):
        grid, disco = InProcessGrid(client_app(token=halves), 3), make_disco(count=count, tau=0.4)
        bank = play(disco, grid, empty_bank())
        bank = play(disco, grid, bank, rounds=4, nodes=[1000], first_round=2)
        total = token_of(bank, 0)
        directions[count] = total / np.linalg.norm(total)
    assert directions["round"][0] > directions["stage"][0] + 0.01


def test_a_subspace_is_the_sample_weighted_mean_of_its_clients():
    grid = InProcessGrid(client_app(by_parity), 5)
    bank = play(make_disco(), grid, empty_bank())

    def mean(start, name, clients):
        weights = [samples(client) for client in clients]
        parts = [moved(start, client, name).astype(np.float64) for client in clients]
        return np.average(parts, axis=0, weights=weights)

    for identifier, clients in ((0, (0, 2, 4)), (1, (1, 3))):
        for name, start in new_adapter(identifier).items():
            got = adapter_of(bank, identifier)[name]
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, mean(start, name, clients), atol=1e-6)
    for name, start in initial_projector().items():
        got = bank[f"projector/{name}"].numpy()
        np.testing.assert_allclose(got, mean(start, name, range(5)), atol=1e-6)


def test_a_node_gets_one_message_with_its_own_parts():
    grid = InProcessGrid(client_app(by_parity), 4)
    disco = make_disco()
    config = ConfigRecord({"stage": 1, "lr": 0.1})
    messages = disco.configure_train(3, empty_bank(), config, grid)
    assert [grid.partition(m.metadata.dst_node_id) for m in messages] == [0, 1, 2, 3]
    for client, message in enumerate(messages):
        assert message.metadata.message_type == "train"
        assert message.metadata.group_id == "3"
        assert set(message.content) == {"adapter", "projector", "config"}
        assert as_bits(message.content["adapter"]) == as_bits(to_record(new_adapter(client % 2)))
        assert as_bits(message.content["projector"]) == as_bits(to_record(initial_projector()))
        expected = {"stage": 1, "lr": 0.1, "server-round": 3, "subspace": client % 2}
        assert dict(message.content["config"]) == expected
    assert dict(config) == {"stage": 1, "lr": 0.1}


def test_a_frozen_projector_does_not_travel_and_does_not_change():
    grid = InProcessGrid(client_app(by_parity), 4)
    start = empty_bank()
    bank = play(make_disco(projector="frozen"), grid, start, rounds=2)
    assert all(set(m.content) == {"adapter", "config"} for m in grid.sent_of("train"))
    assert {k: v for k, v in as_bits(bank).items() if k in start} == as_bits(start)
    assert subspaces_of(bank) == [0, 1]


def test_identities_are_asked_once_per_stage_and_client():
    grid = InProcessGrid(client_app(two_stages), 4)
    disco, bank = make_disco(), empty_bank()
    bank = play(disco, grid, bank, stage=1, nodes=[1000, 1001])
    bank = play(disco, grid, bank, stage=1, nodes=[1001, 1002])
    bank = play(disco, grid, bank, stage=1, rounds=2)
    asked = [m.metadata.dst_node_id for m in grid.sent_of("query.identity")]
    assert asked == [1000, 1001, 1002, 1003]
    assert {count_of(bank, 0), count_of(bank, 1)} == {
        samples(0) + samples(2),
        samples(1) + samples(3),
    }
    play(disco, grid, bank, stage=2, rounds=2)
    asked = [m.metadata.dst_node_id for m in grid.sent_of("query.identity")]
    assert asked[4:] == [1000, 1001, 1002, 1003]


def test_clients_of_one_data_set_in_different_rounds_share_a_subspace():
    grid = InProcessGrid(client_app(), 3)
    disco, bank = make_disco(), empty_bank()
    for node in (1002, 1000, 1001):
        bank = play(disco, grid, bank, nodes=[node])
    assert subspaces_of(bank) == [0]
    assert disco.assignment == {0: 0, 1: 0, 2: 0}
    assert (token_of(bank, 0) == token_total(0, sum(map(samples, range(3))))).all()


def test_a_known_task_returns_to_its_subspace_in_a_later_stage():
    grid = InProcessGrid(client_app(lambda client, stage: [0, 5, 0][stage - 1]), 2)
    disco, bank = make_disco(), empty_bank()
    for stage in (1, 2, 3):
        bank = play(disco, grid, bank, stage=stage)
    assert subspaces_of(bank) == [0, 1]
    assert count_of(bank, 0) == 2 * (samples(0) + samples(1))
    assert int(bank["subspace-000/first-stage"].numpy()) == 1
    assert int(bank["subspace-001/first-stage"].numpy()) == 2
    assert disco.last_matching.joined == {0: 0, 1: 0}
    assert disco.last_matching.similarities[0] == (1.0, 0.0)


def test_a_subspace_without_participants_keeps_its_bits_and_its_inner_is_not_stepped():
    grid = InProcessGrid(client_app(by_parity), 4)
    disco = make_disco("FedAdam")
    bank = play(disco, grid, empty_bank(), rounds=2)
    after = play(disco, grid, bank, rounds=2, nodes=[1001, 1003])
    quiet = [key for key in bank if key.startswith("subspace-000")]
    assert {k: as_bits(after)[k] for k in quiet} == {k: as_bits(bank)[k] for k in quiet}
    assert (disco.inners[0].rounds, disco.inners[1].rounds) == (2, 4)
    loud = "subspace-001/adapter/b.lora_A.weight"
    assert as_bits(after)[loud] != as_bits(bank)[loud]


def test_it_runs_under_flowers_own_loop_without_a_stage():
    grid = InProcessGrid(client_app(by_parity), 4)
    outcome = make_disco().start(grid, empty_bank(), num_rounds=3)
    by_hand = play(make_disco(), InProcessGrid(client_app(by_parity), 4), empty_bank(), rounds=3)
    assert as_bits(outcome.arrays) == as_bits(by_hand)
    loss = np.average([1 / (c + 1) for c in range(4)], weights=[samples(c) for c in range(4)])
    metrics = outcome.train_metrics_clientapp[3]
    assert set(metrics) == {"train-loss"}
    assert metrics["train-loss"] == pytest.approx(loss)


def test_a_bank_can_be_taken_up_by_a_fresh_strategy():
    app = client_app(two_stages)
    bank = play(make_disco(), InProcessGrid(app, 4), empty_bank(), stage=1)
    fresh = make_disco()
    bank = play(fresh, InProcessGrid(app, 4), bank, stage=2)
    assert subspaces_of(bank) == [0, 1, 2, 3]
    assert fresh.assignment == {0: 2, 1: 3, 2: 2, 3: 3}


def test_an_inner_strategy_may_select_some_of_its_nodes():
    def half():
        return FedAvg(
            fraction_train=0.5, fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=1
        )

    grid = InProcessGrid(client_app(by_parity), 8)
    disco = Disco(half, new_adapter)
    random.seed(0)
    bank = play(disco, grid, empty_bank())
    trained = [grid.partition(m.metadata.dst_node_id) for m in grid.sent_of("train")]
    assert [sum(c % 2 == parity for c in trained) for parity in (0, 1)] == [2, 2]
    # Who does not train the projector is still sent it, and its adapter still counts.
    assert all("projector" in m.content for m in grid.sent_of("train"))
    assert count_of(bank, 0) == sum(samples(c) for c in trained if c % 2 == 0)


def test_an_inner_strategy_that_waits_for_more_nodes_is_an_error_not_a_hang(monkeypatch):
    monkeypatch.setattr("flwr.serverapp.strategy.strategy_utils.sleep", lambda seconds: None)
    grid = InProcessGrid(client_app(), 1)
    with pytest.raises(RunError, match="min_available_nodes=1"):
        Disco(FedAvg, new_adapter).configure_train(1, empty_bank(), ConfigRecord(), grid)


def test_evaluation_is_left_to_the_server_app():
    grid = InProcessGrid(client_app(), 1)
    assert make_disco().configure_evaluate(1, empty_bank(), ConfigRecord(), grid) == []
    assert make_disco().aggregate_evaluate(1, []) is None


def test_the_summary_tells_the_settings_and_constructors_are_quiet():
    with flower_log() as lines:
        disco = make_disco("FedYogi", tau=0.8)
        assert lines == []
        disco.summary()
    text = "\n".join(lines)
    assert "tau: 0.8" in text
    assert "Inner strategy of each subspace: FedYogi" in text
    assert "eta" in text
    assert "will be skipped" not in text


def test_nobody_takes_part():
    grid = InProcessGrid(client_app(), 0)
    disco = make_disco()
    assert disco.configure_train(1, empty_bank(), ConfigRecord(), grid) == []
    assert disco.aggregate_train(1, []) == (None, None)


def test_wrong_use_is_named():
    with pytest.raises(ConfigError) as raised:
        make_disco(tau=1.5, projector="shred", identity_timeout=0)
    assert len(raised.value.problems) == 3
    grid = InProcessGrid(client_app(), 1)
    with pytest.raises(RunError, match="before configure_train"):
        make_disco().aggregate_train(1, [])
    with pytest.raises(ConfigError, match="projector"):
        make_disco().configure_train(1, to_record({}), ConfigRecord(), grid)
    with pytest.raises(ConfigError, match="stage"):
        make_disco().configure_train(1, empty_bank(), ConfigRecord({"stage": "one"}), grid)
    with pytest.raises(ModelError, match="no key of a bank"):
        make_disco().configure_train(1, to_record({"w": np.ones(2)}), ConfigRecord(), grid)
