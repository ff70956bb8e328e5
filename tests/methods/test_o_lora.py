"""O-LoRA is its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from method_clients import SAMPLES, loss_of
from torch.nn import Parameter
from toy_banks import random_adapter, same_bits

from fcit_app.methods.o_lora import Orthogonal
from fcit_app.methods.state import State
from fcit_app.model.adapters import load_parameters_, read_parameters
from fcit_app.model.stacked import BankSession


def test_o_loras_penalty_is_the_overlap_of_rows():
    earlier = {"stage-001": {"l.lora_A.weight": np.array([[1.0, 0, 0], [0, 2, 0]], np.float32)}}
    rows = Parameter(torch.tensor([[0.0, 0.0, 5.0]]))
    handles = {"l.lora_A.weight": rows, "l.lora_B.weight": Parameter(torch.ones(3, 1))}
    assert Orthogonal(handles, earlier, 0.5).penalty().item() == 0
    rows.data = torch.tensor([[3.0, -1.0, 5.0]])
    assert Orthogonal(handles, earlier, 0.5).penalty().item() == pytest.approx(0.5 * (3 + 2))


def test_o_lora_begins_each_stage_afresh_and_sums_all_at_inference(client):
    mine = client("o-lora")
    first, second = random_adapter(mine.handles, 1), random_adapter(mine.handles, 2)
    state = mine.method.open_stage(State(0, first, mine.projector), 1, dict)
    assert state.adapter is first and not state.memory
    state = mine.method.open_stage(state, 2, lambda: second)
    assert state.adapter is second
    assert same_bits(state.memory["stage-001"], first)
    bank = mine.method.bank(state)
    assert [(s.identifier, s.first_stage, s.token) for s in bank.subspaces] == [
        (0, 1, None),
        (1, 2, None),
    ]


def test_o_lora_trains_what_inference_answers_with(client, tiny_vision):
    """The forward pass of training is that of the bank: all adapters at full weight."""
    mine = client("o-lora")
    first, second = random_adapter(mine.handles, 1), random_adapter(mine.handles, 2)
    state = State(2, second, None, {"stage-001": first})
    with torch.no_grad():
        session = BankSession(mine.base, mine.method.bank(state))
        with session, session.weighted(torch.ones(len(SAMPLES), 2)):
            expected = loss_of(mine.base, tiny_vision)
        former = read_parameters(mine.handles)
        load_parameters_({n: mine.handles[n] for n in second}, second)
        with mine.method.local(mine.base, mine.handles, state.memory):
            found = loss_of(mine.base, tiny_vision)
        alone = loss_of(mine.base, tiny_vision)
        load_parameters_(mine.handles, former)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert abs(alone.item() - found.item()) > 1e-3


def test_o_lora_keeps_the_new_adapter_away_from_the_earlier_ones(client):
    def overlap(strength: float) -> float:
        mine = client("o-lora", o_lora__strength=strength)
        earlier = {"stage-001": random_adapter(mine.handles, 1)}
        fresh = random_adapter(mine.handles, 2)
        new = mine.train(fresh, earlier).arrays
        return sum(
            float(np.abs(earlier["stage-001"][n] @ new[n].T).sum())
            for n in fresh
            if n.endswith("lora_A.weight")
        )

    assert overlap(1.0) < 0.9 * overlap(0.0)
