import numpy as np
import pytest
from fake_clients import as_bits, client_app, empty_bank, flower_log, new_adapter
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp.strategy import FedAvg
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process_grid import InProcessGrid

from fcit_app.errors import ConfigError, ModelError, RunError
from fcit_app.identity.prototypes import with_prototypes
from fcit_app.identity.tokens import IdentityToken
from strategies import (
    BankRecord,
    GridView,
    SubspaceRecord,
    initial_single,
    make_aggregator,
    read_bank,
    split_single,
    to_arrays,
    to_record,
    write_bank,
)
from strategies.bank_record import split_part
from strategies.records import part_of


def some_bank(identifiers=(0, 2, 1000)):
    subspaces = {
        i: SubspaceRecord(
            i, to_record(new_adapter(i)), IdentityToken(np.ones(4), 2**24 + 1 + i), i + 1
        )
        for i in identifiers
    }
    return BankRecord(subspaces, to_record({"p.weight": np.ones((2, 2))}))


def test_a_bank_survives_its_flat_record_to_the_bit():
    record = write_bank(some_bank())
    again = read_bank(record)
    assert list(again.subspaces) == [0, 2, 1000]
    assert again.subspaces[2].token.count == 2**24 + 3
    assert again.subspaces[2].first_stage == 3
    assert as_bits(write_bank(again)) == as_bits(record)
    assert list(write_bank(again)) == list(record)
    assert {"subspace-000/token", "subspace-1000/count", "projector/p.weight"} <= set(record)


def test_projectors_and_prototypes_survive_the_flat_record_to_the_bit():
    features = np.repeat(np.eye(4)[:2], 10, axis=0)
    token = with_prototypes(features, 2)
    assert len(token.prototypes) == 2
    own = to_record({"p.weight": np.full((2, 2), 3)})
    subspace = SubspaceRecord(0, to_record(new_adapter(0)), token, 1, own)
    record = write_bank(BankRecord({0: subspace}, to_record({"p.weight": np.ones((2, 2))})))
    again = read_bank(record)
    assert as_bits(write_bank(again)) == as_bits(record)
    assert list(write_bank(again)) == list(record)
    known = again.subspaces[0]
    assert as_bits(known.projector) == as_bits(own)
    assert split_part(known.part)[0].keys() == known.adapter.keys()
    assert as_bits(split_part(known.part)[1]) == as_bits(own)
    for key in ("prototypes", "prototype-counts"):
        damaged = ArrayRecord({k: a for k, a in record.items() if not k.endswith(f"/{key}")})
        with pytest.raises(ModelError, match=f"lacks {key}"):
            read_bank(damaged)
    record["subspace-000/prototype-counts"] = Array(np.array([1, 2]))
    with pytest.raises(ModelError, match="Subspace 0 of the bank: The prototypes' counts"):
        read_bank(record)


def test_the_empty_bank():
    assert read_bank(ArrayRecord()).subspaces == {}
    assert read_bank(ArrayRecord()).projector is None
    assert read_bank(empty_bank()).subspaces == {}
    assert read_bank(empty_bank()).projector is not None


def test_tokens_of_two_widths_are_no_bank():
    record = write_bank(some_bank())
    record["subspace-002/token"] = Array(np.ones(5, dtype=np.float32))
    with pytest.raises(ModelError, match=r"Subspace 2 .* 5 features"):
        read_bank(record)


@pytest.mark.parametrize("missing", ["token", "count", "first-stage", "adapter"])
def test_an_incomplete_subspace_is_named(missing):
    record = write_bank(some_bank([3]))
    for key in [key for key in record if key.startswith(f"subspace-003/{missing}")]:
        del record[key]
    with pytest.raises(ModelError, match=f"Subspace 3 .* lacks {missing}"):
        read_bank(record)


@pytest.mark.parametrize("key", ["w", "subspace-0/token", "subspace-000/mood", "projector/"])
def test_a_foreign_key_is_named(key):
    with pytest.raises(ModelError, match="no key of a bank"):
        read_bank(ArrayRecord({key: Array(np.ones(1))}))


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
values = st.lists(st.floats(width=32), max_size=4).map(lambda v: np.array(v, dtype=np.float32))


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(names, values, max_size=4))
def test_arrays_survive_their_record(arrays):
    again = to_arrays(to_record(arrays))
    assert list(again) == list(arrays)
    assert all(again[name].tobytes() == arrays[name].tobytes() for name in arrays)


def test_records_are_float32():
    record = to_record({"w": np.ones(3, dtype=np.float64), "n": np.asarray(2)})
    assert {array.dtype for array in record.values()} == {"float32"}
    assert to_arrays(ArrayRecord({"w": Array(np.ones(3))}))["w"].dtype == np.float32


def test_a_part_is_a_shallow_copy():
    grid = InProcessGrid(client_app(), 1)
    strategy = make_aggregator("fedavg")()
    start = initial_single({"a": np.ones(2), "b": np.zeros(3)}, {"p": np.ones(1)})
    (reply,) = grid.send_and_receive(strategy.configure_train(1, start, ConfigRecord(), grid))
    part = part_of(reply, "arrays", MetricRecord({"num-examples": 3}), ["adapter/b", "adapter/a"])
    assert list(part.content["arrays"]) == ["adapter/b", "adapter/a"]
    assert dict(part.content["metrics"]) == {"num-examples": 3}
    assert part.metadata is reply.metadata
    part.content["arrays"].clear()
    assert list(reply.content["arrays"]) == ["adapter/a", "adapter/b", "projector/p"]


def test_a_single_adapter_runs_under_stock_fedavg():
    adapter, projector = {"a": np.ones(2, np.float32)}, {"p": np.zeros(3, np.float32)}
    grid = InProcessGrid(client_app(), 3)
    outcome = make_aggregator("fedavg")().start(grid, initial_single(adapter, projector), 2)
    got_adapter, got_projector = split_single(outcome.arrays)
    assert set(got_adapter) == {"a"}
    assert got_projector is not None
    assert set(got_projector) == {"p"}
    assert set(initial_single(adapter)) == {"adapter/a"}
    assert split_single(initial_single(adapter))[1] is None
    with pytest.raises(ModelError, match="'w'"):
        split_single(to_record({"w": np.ones(1)}))


def test_aggregators_are_fresh_quiet_and_content_with_one_node():
    make = make_aggregator("fedavg")
    with flower_log() as lines:
        one, other = make(), make()
    assert lines == []
    assert one is not other
    assert isinstance(one, FedAvg)
    assert (one.fraction_train, one.fraction_evaluate) == (1.0, 0.0)
    assert (one.min_train_nodes, one.min_evaluate_nodes, one.min_available_nodes) == (1, 0, 1)
    with pytest.raises(ConfigError, match="must be one of fedavg"):
        make_aggregator("fedavgg")


def test_a_view_shows_its_nodes_and_is_the_grid_otherwise():
    grid = InProcessGrid(client_app(), 4)
    view = GridView(grid, [1003, 1001])
    assert view.get_node_ids() == [1003, 1001]
    assert [node.node_id for node in view.get_nodes()] == [1001, 1003]
    assert view.run is grid.run
    view.set_run(None)
    strategy = make_aggregator("fedavg")()
    start = initial_single({"a": np.ones(2)})
    messages = strategy.configure_train(1, start, ConfigRecord(), view)
    assert sorted(m.metadata.dst_node_id for m in messages) == [1001, 1003]
    assert len(view.pull_messages(view.push_messages(messages))) == 2
    one = view.create_message(messages[0].content, "train", 1001, "1")
    assert len(view.send_and_receive([one], timeout=1.0)) == 1


def test_a_view_loses_patience_only_if_told_to():
    grid = InProcessGrid(client_app(), 1)
    patient, hasty = GridView(grid, [1000]), GridView(grid, [1000], patience=2)
    for _ in range(50):
        patient.get_node_ids()
    hasty.get_node_ids()
    hasty.get_node_ids()
    with pytest.raises(RunError, match="the 1 it has"):
        hasty.get_node_ids()
