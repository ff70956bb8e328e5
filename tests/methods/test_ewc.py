"""EWC is its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from method_clients import SAMPLES, config_of, memory_of
from torch.nn import Parameter
from toy_banks import random_adapter, same_bits

from fcit_app.methods import load_method
from fcit_app.methods.ewc import Elastic, fisher_diagonal
from fcit_app.methods.state import Importance, State
from fcit_app.model.adapters import load_parameters_, read_parameters
from fcit_app.train.collate import Collator
from fcit_app.train.loop import answer_loss


def test_ewc_pulls_each_value_to_its_anchor_by_its_importance():
    value = Parameter(torch.tensor([1.0, 2.0, -1.0]))
    held, anchor = np.array([4.0, 0.0, 1.0], np.float32), np.array([0.0, 0.0, 1.0], np.float32)
    penalty = Elastic({"w": value}, {"w": held}, {"w": anchor}, strength=3.0).penalty()
    assert penalty.item() == pytest.approx(3 / 2 * (4 * 1 + 0 + 1 * 4))
    penalty.backward()
    assert value.grad is not None
    assert value.grad.tolist() == pytest.approx([3 * 4 * 1.0, 0.0, 3 * 1 * -2.0])


def test_ewc_of_strength_nought_is_plain_fine_tuning_to_the_bit(client):
    free = client("ewc", ewc__strength=0.0)
    memory = memory_of(free)
    plain = client("finetune").train(free.initial())
    assert same_bits(free.train(free.initial(), memory).arrays, plain.arrays)
    held = client("ewc", ewc__strength=10.0).train(free.initial(), memory).arrays
    assert not same_bits(held, plain.arrays)


def test_a_very_important_value_stays(client):
    mine = client("ewc", ewc__strength=1e4)
    memory = memory_of(mine)
    away = {n: a + np.float32(0.05) for n, a in mine.initial(3).items()}
    moved = mine.train(away, memory).arrays
    distance = {n: np.abs(moved[n] - memory["anchor"][n]).mean() for n in away}
    assert all(distance[n] < 0.045 for n in away)


def test_fisher_is_the_mean_of_squared_gradients_by_sample(client, tiny_vision):
    mine = client("ewc")
    arrays = random_adapter(mine.handles, 1) | mine.projector
    found = fisher_diagonal(mine.base, mine.handles, arrays, SAMPLES[:2], tiny_vision)
    name = next(n for n in arrays if n.endswith("lora_B.weight"))
    expected = np.zeros_like(arrays[name])
    former = read_parameters(mine.handles)
    load_parameters_(mine.handles, arrays)
    for place in range(2):
        batch = Collator(mine.base, SAMPLES).batch([place])
        tokens = int((batch.labels >= 0).sum())
        loss = answer_loss(mine.base, batch, tiny_vision.of([SAMPLES[place]])) * tokens
        (gradient,) = torch.autograd.grad(loss, [mine.handles[name].requires_grad_(True)])
        expected += gradient.numpy() ** 2 / 2
    load_parameters_(mine.handles, former)
    np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-9)
    assert all((array >= 0).all() for array in found.values())


def test_ewc_adds_the_shards_mean_to_the_decayed_sum(client):
    method = load_method(config_of("ewc", ewc__decay=0.5))
    one = {"w": np.array([2.0], np.float32)}
    state = State(1, one, None, {"importance": {"w": np.array([8.0], np.float32)}, "anchor": {}})
    reports = [Importance({"w": np.array([1.0], np.float32)}, 30),
               Importance({"w": np.array([5.0], np.float32)}, 10)]  # fmt: skip
    closed = method.close_stage(state, reports)
    assert closed.memory["importance"]["w"].tolist() == [0.5 * 8 + (30 * 1 + 10 * 5) / 40]
    assert same_bits(closed.memory["anchor"], one)
    assert closed.adapter is state.adapter


def test_ewc_uses_at_most_so_many_samples(client, tiny_vision):
    few, all_of_them = client("ewc", ewc__samples=3), client("ewc", ewc__samples=50)
    arrays = random_adapter(few.handles, 1) | few.projector
    place = (few.base, few.handles, arrays)
    three = few.method.importance(*place, SAMPLES, tiny_vision, 5)
    eight = all_of_them.method.importance(*place, SAMPLES, tiny_vision, 5)
    assert three.samples == eight.samples == len(SAMPLES)
    assert not same_bits(three.arrays, eight.arrays)
    expected = fisher_diagonal(*place, SAMPLES, tiny_vision)
    assert same_bits(eight.arrays, expected)
