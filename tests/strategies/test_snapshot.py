"""What a strategy holds is kept and restored to the bit; what cannot be kept is named."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from fake_clients import (
    INNERS,
    as_bits,
    client_app,
    empty_bank,
    initial_projector,
    make_disco,
    new_adapter,
    play,
)
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp.strategy import FedAvg
from in_process_grid import InProcessGrid

from fcit_app.errors import RunFolderError
from fcit_app.identity.tokens import IdentityToken
from strategies import initial_single
from strategies.aggregators import check_aggregator, make_aggregator
from strategies.snapshot import pack, restore, state_of, unkeepable, unpack
from strategies.stage import StageClients

CLIENTS = [0, 1, 2, 3, 4]


class Locked(FedAvg):
    """Holds from the start what cannot be saved."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.lock = threading.Lock()


class OwnState(Locked):
    """Says itself what its state is."""

    steps = 0

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


class Wrapped(FedAvg):
    """Has another strategy inside, as Flower's privacy wrappers."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.strategy = INNERS["FedAdam"]()


def kept(state):
    """The state after a way through JSON and copies of the arrays."""
    packed = pack(state)
    assert packed.lost == []
    return unpack(
        json.loads(json.dumps(packed.tree)), {k: a.copy() for k, a in packed.arrays.items()}
    )


def fresh_copy(strategy, make):
    other = make()
    restore(other, kept(dict(state_of(strategy))))
    return other


def bits(value):
    packed = pack(value)
    return packed.tree, {k: (a.dtype.str, a.tobytes()) for k, a in packed.arrays.items()}


@pytest.mark.parametrize("name", INNERS)
def test_stock_strategies_go_on_to_the_bit(name):
    make = INNERS[name]
    # Stock strategies ask nodes in a random order; the loop sorts their replies.
    grid = InProcessGrid(
        client_app(),
        CLIENTS,
        reorder=lambda replies: sorted(replies, key=lambda r: r.metadata.src_node_id),
    )
    one = make()
    arrays = play(one, grid, initial_single(new_adapter(0), initial_projector()), rounds=2)
    two = fresh_copy(one, make)
    expected = play(one, grid, arrays, rounds=2, first_round=3)
    assert as_bits(play(two, grid, arrays, rounds=2, first_round=3)) == as_bits(expected)
    assert bits(dict(state_of(two))) == bits(dict(state_of(one)))


@pytest.mark.parametrize("name", INNERS)
def test_disco_goes_on_in_the_middle_of_a_stage(name):
    """Nodes have other numbers afterwards; who has answered is not asked again."""
    app = client_app(topic=lambda client, stage: client % 2 + stage // 2)
    grid = InProcessGrid(app, CLIENTS)
    one = make_disco(name)
    arrays = play(one, grid, empty_bank(), rounds=2)
    arrays = play(one, grid, arrays, stage=2, first_round=3)
    two = fresh_copy(one, lambda: make_disco(name))
    later = InProcessGrid(app, CLIENTS[::-1], nodes=[7, 9, 11, 13, 15])
    two.recognise(dict(zip(CLIENTS[::-1], (7, 9, 11, 13, 15), strict=True)))
    expected = play(one, grid, arrays, stage=2, rounds=2, first_round=4)
    assert as_bits(play(two, later, arrays, stage=2, rounds=2, first_round=4)) == as_bits(expected)
    assert later.sent_of("query.identity") == []
    assert bits(two.state_dict()) == bits(one.state_dict())


def test_a_lesson_that_was_put_aside_comes_back_after_a_restart():
    token, *parts = (IdentityToken(np.arange(4, dtype=np.float32), 3) for _ in range(3))
    parted = IdentityToken(np.full(4, 6.0, np.float32), 6, tuple(parts))
    stage = StageClients(2, tokens={0: token, 1: parted}, counted={0, 1}, lessons={0: "a", 1: "a"})
    stage.turn_to({0: "b"}, {0: 5, 1: 5}, [5])
    again = StageClients.restored(kept(stage.state_dict()))
    assert bits(again.state_dict()) == bits(stage.state_dict())
    assert again.tokens.keys() == again.counted == {1}
    assignment = {1: 5}
    again.turn_to({0: "a"}, assignment, [5])
    assert (assignment, again.counted) == ({0: 5, 1: 5}, {0, 1})
    assert again.tokens[0].total.tobytes() == token.total.tobytes()
    assert [part.count for part in again.tokens[1].prototypes] == [3, 3]


def test_values_keep_bits_types_and_order():
    record = ArrayRecord({"b": Array(np.arange(4.0)), "a": Array(np.eye(2, dtype=np.float16))})
    shared = np.full((2, 3), np.nan, dtype=np.float32)
    value = {
        "numbers": [1, 1.0, True, 2**80, 0.1, None, "é"],
        (1, "k"): (1, [2], {3}, frozenset({4})),
        2: b"\x00\xff",
        "scalar": np.float32(0.1),
        "views": [np.arange(12).reshape(3, 4).T, shared, shared],
        "record": record,
        "array": Array(np.zeros((0, 3))),
        "metrics": MetricRecord({"a": 1.5, "b": [1, 2]}),
        "config": ConfigRecord({"x": "y", "z": b"1"}),
    }
    found = kept(value)
    assert list(found) == list(value)
    assert list(found["record"]) == ["b", "a"]
    assert bits(found) == bits(value)
    assert repr(found["numbers"]) == repr(value["numbers"])
    assert type(found["scalar"]) is np.float32
    assert found["views"][0].flags.f_contiguous
    assert found["views"][1] is found["views"][2]
    odd = kept([float("nan"), float("-inf")])
    assert repr(odd) == "[nan, -inf]"


def test_what_cannot_be_kept_is_named_with_its_place():
    packed = pack({"a": {"b": [1, object()]}, "c": np.array(["text"]), "d": 1})
    assert packed.lost == ["a.b[1] (object)", "c (ndarray)"]
    assert unpack(packed.tree, packed.arrays) == {"a": {"b": [1, None]}, "d": 1}


def test_a_garbled_state_is_named():
    with pytest.raises(RunFolderError, match="lacks or garbles 'nonsense'"):
        unpack({"nonsense": 1}, {})


def test_unkeepable_state_is_an_error_before_the_start():
    (problem,) = check_aggregator({"aggregator": f"{__name__}:Locked"})
    assert "Locked holds lock (lock), which cannot be saved" in problem
    assert "state_dict() and load_state_dict(state)" in problem
    assert check_aggregator({"aggregator": f"{__name__}:OwnState"}) == []


def test_classes_may_keep_their_state_themselves():
    make = make_aggregator(f"{__name__}:OwnState")
    one = make()
    one.steps = 3
    assert fresh_copy(one, make).steps == 3
    assert unkeepable(one) == []


def test_a_strategy_inside_another_is_restored_in_place():
    one = Wrapped()
    one.strategy.m_t = {"a": np.ones(2)}
    two = fresh_copy(one, Wrapped)
    assert type(two.strategy) is type(one.strategy)
    assert bits(two.strategy.m_t) == bits(one.strategy.m_t)
