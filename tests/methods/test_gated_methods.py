"""M-LoRA and MoELoRA are their formulae."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from method_clients import loss_of
from toy_banks import same_bits

from fcit_app.errors import ModelError
from fcit_app.methods.state import State
from fcit_app.model.adapters import load_parameters_, read_parameters
from fcit_app.model.bank import Bank
from fcit_app.model.stacked import BankSession


def test_m_lora_is_the_scaled_sum_of_its_parts(client, tiny_vision):
    mine = client("m-lora", m_lora__parts=2)
    arrays = mine.initial()
    scales = [n for n in arrays if n.endswith(".lora_gate.scales")]
    assert all(arrays[n].shape == (2,) and not arrays[n].any() for n in scales)
    assert len(scales) == len(arrays) / 3
    weights = np.array([0.3, -0.7], np.float32)
    former = read_parameters(mine.handles)
    load_parameters_({n: mine.handles[n] for n in arrays}, arrays | dict.fromkeys(scales, weights))
    with torch.no_grad():
        found = loss_of(mine.base, tiny_vision)
    load_parameters_(mine.handles, former)
    # The same sum as plain LoRA of the same rank, with the scales in B.
    plain = client("finetune", train__rank=4)
    columns = np.repeat(weights, 2)
    folded = {n: a * (columns if n.endswith("lora_B.weight") else np.float32(1))
              for n, a in arrays.items() if n not in scales}  # fmt: skip
    former = read_parameters(plain.handles)
    load_parameters_({n: plain.handles[n] for n in folded}, folded)
    with torch.no_grad():
        expected = loss_of(plain.base, tiny_vision)
    load_parameters_(plain.handles, former)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_moelora_with_one_expert_is_plain_lora_to_the_bit(client):
    mine = client("moelora", moelora__experts=1)
    trained = mine.train(mine.initial()).arrays
    plain = client("finetune")
    expected = plain.train(plain.initial()).arrays
    assert same_bits({n: a for n, a in trained.items() if n in expected}, expected)
    routers = trained.keys() - expected.keys()
    assert routers and not any(trained[n].any() for n in routers)


def test_moeloras_router_weighs_each_token_by_itself(client):
    mine = client("moelora", moelora__experts=3)
    gate: Any = next(m for n, m in mine.base.adapted.named_modules() if n.endswith("gate.client"))
    inputs = torch.randn(2, 5, gate.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(gate.weights(inputs), torch.full((2, 5, 3), 1 / 3))
        gate.weight.copy_(torch.eye(3, gate.width))
        weights = gate.weights(inputs)
        gate.weight.zero_()
    torch.testing.assert_close(weights, inputs[..., :3].softmax(dim=-1))


def test_the_router_is_trained(client):
    trained = client("moelora").trained()
    assert any(a.any() for n, a in trained.items() if n.endswith("lora_gate.weight"))


def test_a_bank_of_two_gated_adapters_is_refused(client):
    mine = client("moelora")
    (one,) = mine.method.bank(State(1, mine.initial(), None)).subspaces
    with pytest.raises(ModelError, match="only adapters of LoRA matrices alone"):
        BankSession(mine.base, Bank((one, replace(one, identifier=1)))).__enter__()
