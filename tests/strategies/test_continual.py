"""The strategy around a stock aggregator: what is sent, merged, remembered and written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_clients import as_bits
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAdam, FedAvg
from in_process_grid import InProcessGrid

from fcit_app.config import parse
from fcit_app.errors import ConfigError, ModelError, RunError
from fcit_app.methods import load_method
from fcit_app.methods.state import State
from strategies.continual import Continual
from strategies.continual_record import read_state, write_state
from strategies.single import initial_single

NAME = "l.lora_A.weight"
ONE = {"min_train_nodes": 1, "min_available_nodes": 1, "fraction_evaluate": 0.0}


def drawn(number):
    return {NAME: np.full((2, 3), 0.1 * (number + 1), np.float32)}


def state_of(stage=0, memory=None):
    return State(stage, drawn(0), {"p.weight": np.ones(2, np.float32)}, memory or {})


def clients(count=3, change=lambda client, reply: None):
    """Clients that add their own number to what they are sent."""
    app = ClientApp()

    @app.train()
    def train(message, context):
        client = int(context.node_config["partition-id"])
        sent = message.content.array_records["arrays"]
        trained = {k: Array(a.numpy() + np.float32(client)) for k, a in sent.items()}
        metrics = MetricRecord({"num-examples": client + 1, "train-loss": 1.0})
        reply = RecordDict({"arrays": ArrayRecord(trained), "metrics": metrics})
        change(client, reply)
        return Message(reply, reply_to=message)

    return InProcessGrid(app, count)


def strategy(method="o-lora", inner=lambda: FedAvg(**ONE)):
    return Continual(load_method(parse({"method": method})), inner, drawn)


def in_order(replies):
    """By node, as the loop hands them on by client: Flower draws its nodes in any order."""
    return sorted(replies, key=lambda reply: reply.metadata.src_node_id)


def one_round(made, arrays, stage, grid):
    messages = list(made.configure_train(stage, arrays, ConfigRecord({"stage": stage}), grid))
    return made.aggregate_train(stage, in_order(grid.send_and_receive(messages)))


def test_a_state_survives_its_record_to_the_bit():
    memory = {"stage-001": drawn(4), "anchor": {"p.weight": np.ones(2, np.float32)}}
    for state in (state_of(3, memory), replace(state_of(0), projector=None)):
        record = write_state(state)
        again = read_state(record)
        assert again.stage == state.stage
        assert (again.projector is None) == (state.projector is None)
        assert again.memory.keys() == state.memory.keys()
        assert as_bits(write_state(again)) == as_bits(record)
    assert f"memory/stage-001/{NAME}" in write_state(state_of(3, memory))


@pytest.mark.parametrize(("key", "named"), [("stage", r"\[\]"), ("odd", "'odd'")])
def test_a_record_that_is_no_state_is_refused(key, named):
    record = write_state(state_of())
    if key == "stage":
        del record[key]
    else:
        record[key] = Array(np.ones(1, np.float32))
    with pytest.raises(ModelError, match=named):
        read_state(record)


@pytest.mark.parametrize("stock", [FedAvg, FedAdam])
def test_a_stage_is_the_stock_strategys_own_to_the_bit(stock):
    record = initial_single(state_of().adapter, state_of().projector)
    alone, grid = stock(**ONE), clients()
    for number in (1, 2, 3):
        sent = alone.configure_train(number, record.copy(), ConfigRecord(), grid)
        replies = in_order(grid.send_and_receive(list(sent)))
        record, _ = alone.aggregate_train(number, replies)
        record = ArrayRecord({k: Array(a.numpy().astype(np.float32)) for k, a in record.items()})
    ours, merged = strategy(inner=lambda: stock(**ONE)), write_state(state_of())
    for _ in range(3):
        merged, _ = one_round(ours, merged, 1, clients())
    trained = ArrayRecord({key: merged[key] for key in record})
    assert as_bits(trained) == as_bits(record)


def test_a_fresh_adapter_gets_a_fresh_aggregator_and_the_same_one_keeps_it():
    def made_by(method):
        made = []

        def inner():
            made.append(FedAdam(**ONE))
            return made[-1]

        ours, arrays = strategy(method, inner), write_state(state_of())
        for stage in (1, 1, 2, 2, 3):
            arrays, _ = one_round(ours, arrays, stage, clients())
        return len(made), read_state(arrays)

    count, state = made_by("o-lora")
    assert count == 3
    assert list(state.memory) == ["stage-001", "stage-002"]
    count, state = made_by("m-lora")
    assert count == 1
    assert (state.stage, dict(state.memory)) == (3, {})


def test_a_restart_from_the_record_alone_goes_on_the_same_way():
    ours, arrays = strategy(), write_state(state_of())
    for stage in (1, 2):
        arrays, _ = one_round(ours, arrays, stage, clients())
    on, _ = one_round(ours, arrays, 3, clients())
    again, _ = one_round(strategy(), arrays, 3, clients())
    assert as_bits(on) == as_bits(again)


def test_replies_that_do_not_mirror_what_was_sent_are_left_out_and_named():
    def change(client, reply):
        if client == 1:
            del reply["arrays"][f"adapter/{NAME}"]
        if client == 2:
            reply["metrics"]["num-examples"] = 0

    ours = strategy()
    merged, metrics = one_round(ours, write_state(state_of()), 1, clients(3, change))
    assert {(r.node, r.phase) for r in ours.rejected} == {(1001, "train"), (1002, "train")}
    assert read_state(merged).adapter[NAME].tolist() == drawn(0)[NAME].tolist()
    assert metrics is not None


def test_nobody_delivers():
    def change(client, reply):
        del reply["arrays"]

    ours = strategy()
    assert one_round(ours, write_state(state_of()), 1, clients(2, change)) == (None, None)
    with pytest.raises(RunError, match="before configure_train"):
        ours.aggregate_train(2, [])


@pytest.mark.parametrize("stage", [0, True, "2", 1.5])
def test_a_stage_is_a_whole_number_from_1(stage):
    with pytest.raises(ConfigError, match="whole number from 1"):
        strategy().configure_train(
            1, write_state(state_of()), ConfigRecord({"stage": stage}), clients()
        )


def test_the_run_accounts_for_the_adapter_in_training():
    ours, arrays = strategy(), write_state(state_of())
    numbers = []
    for stage in (1, 2):
        grid = clients()
        arrays, _ = one_round(ours, arrays, stage, grid)
        numbers += [m.content["config"]["subspace"] for m in grid.sent_of("train")]
    assert numbers == [0] * 3 + [1] * 3
