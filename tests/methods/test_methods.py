"""What holds for every method."""

from __future__ import annotations

import numpy as np
import pytest
from method_clients import config_of, memory_of, said
from toy_banks import fingerprint, same_bits

from fcit_app.errors import ModelError
from fcit_app.methods import load_method
from fcit_app.methods.state import State, flat_memory, read_memory
from fcit_app.model.bank import Bank

NEW = ("ewc", "o-lora", "m-lora", "moelora", "l2p")


@pytest.mark.parametrize("method", NEW)
def test_training_learns_repeats_itself_and_leaves_no_trace(client, method):
    mine = client(method)
    memory, before = memory_of(mine), fingerprint(mine.base.adapted)
    first = mine.train(mine.initial(), memory)
    assert fingerprint(mine.base.adapted) == before
    assert mine.base.prefix is None
    again = mine.train(mine.initial(), memory)
    assert same_bits(first.arrays, again.arrays)
    assert first.losses == again.losses
    start = mine.initial() | mine.projector
    changed = {n for n in start if not np.array_equal(start[n], first.arrays[n])}
    assert changed & set(mine.initial())
    assert changed & set(mine.projector)


@pytest.mark.parametrize("method", NEW)
def test_answers_do_not_depend_on_the_batch_and_leave_no_trace(client, method):
    mine = client(method)
    adapter = {n: a + 0.2 * np.cos(np.arange(a.size, dtype=np.float32)).reshape(a.shape)
               for n, a in mine.initial().items()}  # fmt: skip
    state = State(1, adapter, mine.projector)
    bank = mine.method.bank(mine.method.open_stage(state, 2, lambda: adapter))
    before = fingerprint(mine.base.adapted)
    together = said(mine.base, bank)
    assert said(mine.base, bank, size=1) == together
    assert together != said(mine.base, Bank())
    assert fingerprint(mine.base.adapted) == before
    assert mine.base.prefix is None
    again, facts = bank.to_arrays()
    assert said(mine.base, Bank.from_arrays(again, facts)) == together


@pytest.mark.parametrize("method", NEW)
def test_a_fresh_adapter_changes_no_answer_but_prompts_do(client, method):
    mine = client(method)
    plain = said(mine.base, Bank())
    fresh = said(mine.base, mine.method.bank(State(1, mine.initial(), mine.projector)))
    assert (fresh == plain) == (method != "l2p")


@pytest.mark.parametrize("method", ["ewc", "o-lora"])
def test_a_memory_that_does_not_fit_is_refused(client, method):
    mine = client(method)
    memory = {name: dict(list(arrays.items())[1:]) for name, arrays in memory_of(mine).items()}
    before = fingerprint(mine.base.adapted)
    with pytest.raises(ModelError, match="does not belong to this model: 1 missing"):
        mine.train(mine.initial(), memory)
    assert fingerprint(mine.base.adapted) == before


def test_memory_and_flat_arrays():
    memory = {"a": {"x/y.weight": np.ones(2, np.float32)}, "b": {"z": np.zeros(1, np.float32)}}
    assert read_memory(flat_memory(memory)).keys() == memory.keys()
    assert same_bits(flat_memory(read_memory(flat_memory(memory))), flat_memory(memory))
    with pytest.raises(ModelError, match="'odd'"):
        read_memory({"odd": np.ones(1, np.float32)})


def test_prompts_have_a_learning_rate_of_their_own():
    rates = {
        method: load_method(config_of(method, train__lr=1e-3, l2p__lr=3e-2)).learning_rate
        for method in NEW
    }
    assert rates == {**dict.fromkeys(NEW, 1e-3), "l2p": 3e-2}


def test_methods_may_follow_each_other_on_one_base(client):
    expected = client("finetune").trained()
    for method in NEW:
        client(method)
    assert same_bits(client("finetune").trained(), expected)
