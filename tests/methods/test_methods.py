"""Each method is its formula, on small tensors and on the small LLaVA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_llava import toy_samples
from torch.nn import Parameter
from toy_banks import fingerprint, random_adapter, same_bits

from fcit_app.arrays import Arrays
from fcit_app.config import RunConfig, parse
from fcit_app.errors import ModelError
from fcit_app.evaluate.answer import answer, question_weights
from fcit_app.identity.encoders import HashedNgramEncoder
from fcit_app.methods import load_method
from fcit_app.methods.ewc import Elastic, fisher_diagonal
from fcit_app.methods.l2p import PullKeys
from fcit_app.methods.o_lora import Orthogonal
from fcit_app.methods.state import Importance, State, flat_memory, read_memory
from fcit_app.model.adapters import is_adapter, load_parameters_, parameter_handles, read_parameters
from fcit_app.model.bank import Bank
from fcit_app.model.base import BaseModel
from fcit_app.model.features import QuestionFeatures
from fcit_app.model.prompt_pool import PromptPool
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.collate import Collator
from fcit_app.train.loop import FitResult, TrainConfig, answer_loss, fit

NEW = ("ewc", "o-lora", "m-lora", "moelora", "l2p")
CONFIG = TrainConfig(steps=3, batch_size=4, learning_rate=1e-2, projector_learning_rate=1e-3)
SAMPLES = toy_samples(8)


def config_of(method: str, **changes: Any) -> RunConfig:
    named = {key.replace("__", ".").replace("_", "-"): value for key, value in changes.items()}
    return parse({"method": method, "train.rank": 2, **named})


class Client:
    """A method on the small LLaVA, as a client has it."""

    def __init__(self, base: BaseModel, config: RunConfig) -> None:
        self.base = base
        self.method = load_method(config)
        model = self.method.wrap(base)
        self.handles: dict[str, Parameter] = parameter_handles(model, projector=True)
        projector = {n: h for n, h in self.handles.items() if not is_adapter(n)}
        self.projector = read_parameters(projector)

    def initial(self, seed: int = 0) -> Arrays:
        return self.method.initial(self.handles, seed)

    def train(self, adapter: Arrays, memory: Mapping[str, Arrays] | None = None) -> FitResult:
        with self.method.local(self.base, self.handles, memory or {}) as objective:
            vision = VisionFeatures(self.base)
            start = adapter | self.projector
            return fit(
                self.base, self.handles, start, SAMPLES, vision, 7, CONFIG, objective=objective
            )

    def trained(self, seed: int = 0) -> Arrays:
        arrays = self.train(self.initial(seed)).arrays
        return {name: array for name, array in arrays.items() if is_adapter(name)}


@pytest.fixture
def client(tiny_base: BaseModel) -> Iterator[Any]:
    yield lambda method, **changes: Client(tiny_base, config_of(method, **changes))


def loss_of(base: BaseModel, vision: VisionFeatures) -> torch.Tensor:
    batch = Collator(base, SAMPLES).batch(range(len(SAMPLES)))
    return answer_loss(base, batch, vision.of(SAMPLES))


def said(base: BaseModel, bank: Bank, size: int = 100) -> list[str]:
    with BankSession(base, bank) as session:
        vision = VisionFeatures(base)
        weights = question_weights(session, SAMPLES, QuestionFeatures(HashedNgramEncoder()))
        return answer(session, SAMPLES, vision, weights, size)


def memory_of(client: Client) -> dict[str, Arrays]:
    """What the method remembers at the second stage."""
    if client.method.wants_importance:
        held = {n: np.ones(tuple(h.shape), np.float32) for n, h in client.handles.items()}
        return {"importance": held, "anchor": client.initial(3) | client.projector}
    state = State(1, client.trained(1), client.projector)
    return dict(client.method.open_stage(state, 2, lambda: client.initial(2)).memory)


# What holds for every method.


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


# EWC.


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


# O-LoRA.


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


# M-LoRA and MoELoRA.


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


# L2P.


def test_l2p_takes_the_prompts_of_the_nearest_keys():
    pool = PromptPool(size=4, length=2, top=2, hidden=3, width=2)
    pool.keys.data = torch.tensor([[1.0, 0.0], [0.0, 5.0], [-1.0, 0.1], [0.1, 0.1]])
    pool.prompts.data = torch.arange(24.0).reshape(4, 2, 3)
    pool.ask(torch.tensor([[0.0, 2.0], [2.0, 2.1], [-1.0, 0.0]]))
    places, cosines = pool.chosen()
    assert places.tolist() == [[1, 3], [1, 3], [1, 2]]  # by number, not by nearness
    assert cosines[0].tolist() == pytest.approx([1.0, np.sqrt(0.5)])
    vectors = pool.vectors()
    assert vectors.shape == (3, pool.length, 3)
    assert torch.equal(vectors[0], pool.prompts[[1, 3]].reshape(4, 3))
    pool.ask(None)
    with pytest.raises(RuntimeError, match="no queries"):
        pool.vectors()


def test_l2p_pulls_the_chosen_keys_and_no_others():
    encoder = HashedNgramEncoder()
    pool = PromptPool(size=3, length=1, top=1, hidden=2, width=encoder.dimension)
    (query,) = torch.from_numpy(encoder.encode([SAMPLES[0].question]))
    generator = torch.Generator().manual_seed(0)
    pool.keys.data = torch.randn(pool.keys.shape, generator=generator)
    pool.keys.data[1] = query + 0.1
    pull = PullKeys(pool, encoder, strength=2.0)
    pull.see(SAMPLES[:1])
    penalty = pull.penalty()
    cosine = torch.nn.functional.cosine_similarity(query, pool.keys[1], dim=0)
    assert penalty.item() == pytest.approx(2 * (1 - cosine.item()), rel=1e-5)
    penalty.backward()
    assert pool.keys.grad is not None
    assert pool.keys.grad[1].any() and not pool.keys.grad[[0, 2]].any()


def test_l2p_counts_its_prompts_among_a_questions_tokens(client):
    mine = client("l2p", l2p__length=3, l2p__top=2)
    bare = Collator(mine.base, SAMPLES).batch([0]).input_ids
    memory: dict[str, Arrays] = {}
    with mine.method.local(mine.base, mine.handles, memory):
        row = Collator(mine.base, SAMPLES).batch([0]).input_ids
    assert row[0, :6].tolist() == [-1] * 6
    assert torch.equal(row[:, 6:], bare)


def test_prompts_have_a_learning_rate_of_their_own():
    rates = {
        method: load_method(config_of(method, train__lr=1e-3, l2p__lr=3e-2)).learning_rate
        for method in NEW
    }
    assert rates == {**dict.fromkeys(NEW, 1e-3), "l2p": 3e-2}


def test_only_pool_and_projector_travel_for_l2p(client):
    names = client("l2p").handles
    assert {n for n in names if is_adapter(n)} == {"prompt_pool.keys", "prompt_pool.prompts"}


def test_methods_may_follow_each_other_on_one_base(client):
    expected = client("finetune").trained()
    for method in NEW:
        client(method)
    assert same_bits(client("finetune").trained(), expected)


def test_a_bank_of_two_gated_adapters_is_refused(client):
    mine = client("moelora")
    (one,) = mine.method.bank(State(1, mine.initial(), None)).subspaces
    with pytest.raises(ModelError, match="only adapters of LoRA matrices alone"):
        BankSession(mine.base, Bank((one, replace(one, identifier=1)))).__enter__()
