"""Projectors of several subspaces: the mixture equals the sum by hand, one-hot the one's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import PeftModel
from tiny_llava import toy_samples
from torch.nn import Parameter, functional
from toy_banks import RANK, SCALING, fingerprint, random_bank

from fcit_app.arrays import Arrays
from fcit_app.errors import ModelError
from fcit_app.model.adapters import load_parameters_, parameter_handles, wrap
from fcit_app.model.bank import Bank
from fcit_app.model.base import BaseModel
from fcit_app.model.mixed_projector import open_world_weights, projector_weights
from fcit_app.model.prompt import encode_prompts
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures

SAMPLES = [sample for sample in toy_samples(16) if sample.question.startswith("Which")]


@pytest.fixture
def adapted(tiny_base: BaseModel) -> PeftModel:
    return wrap(tiny_base, RANK, SCALING)


@pytest.fixture
def handles(adapted: PeftModel) -> dict[str, Parameter]:
    return parameter_handles(adapted, projector=True)


def projector(handles: dict[str, Parameter], seed: int) -> Arrays:
    """The base's own projector, with noise."""
    generator = np.random.default_rng(seed)
    return {
        name: (p.detach().numpy() + 0.3 * generator.standard_normal(tuple(p.shape))).astype("f4")
        for name, p in handles.items()
        if "multi_modal_projector" in name
    }


def bank_of(handles: dict[str, Parameter], count: int) -> Bank:
    bank = random_bank(handles, count)
    return Bank(
        tuple(replace(s, projector=projector(handles, s.identifier)) for s in bank.subspaces)
    )


@torch.no_grad()
def logits(session: BankSession, vision: VisionFeatures, weights: torch.Tensor) -> torch.Tensor:
    base = session.base
    with session.weighted(weights):
        ids = torch.tensor(encode_prompts(base, SAMPLES))
        embedded = base.embed(ids, vision.of(SAMPLES))
        found: torch.Tensor = base.model(inputs_embeds=embedded).logits
    return found


def test_one_hot_is_that_subspaces_own_model(
    tiny_base: BaseModel, tiny_vision: VisionFeatures, handles: dict[str, Parameter]
) -> None:
    bank, chosen = bank_of(handles, 3), [2, 0, 1, 1]
    with BankSession(tiny_base, bank) as session:
        mixed = logits(session, tiny_vision, torch.eye(3)[chosen])
    for row, number in enumerate(chosen):
        alone = bank.subspaces[number]
        shared = Bank((replace(alone, projector=None),), alone.projector)
        with BankSession(tiny_base, shared) as session:
            own = logits(session, tiny_vision, torch.ones(4, 1))
        torch.testing.assert_close(mixed[row], own[row], rtol=1e-3, atol=2e-3)
    assert (mixed[2] - mixed[1]).abs().max() > 0.1


@torch.no_grad()
def test_a_picture_is_the_weighted_sum_of_its_projections(
    tiny_base: BaseModel, tiny_vision: VisionFeatures, handles: dict[str, Parameter]
) -> None:
    bank = bank_of(handles, 3)
    weights = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    weights /= weights.sum(dim=1, keepdim=True)
    vision = tiny_vision.of(SAMPLES)
    module = tiny_base.model.model.multi_modal_projector
    expected = torch.zeros(())
    own = {n: p for n, p in handles.items() if "multi_modal_projector" in n}
    before = {n: p.detach().clone().numpy() for n, p in own.items()}
    for number, subspace in enumerate(bank.subspaces):
        load_parameters_(own, subspace.projector or {})
        expected = expected + weights[:, number, None, None] * module(vision)
    load_parameters_(own, before)
    with BankSession(tiny_base, bank) as session, session.weighted(weights):
        torch.testing.assert_close(tiny_base.model.model.multi_modal_projector(vision), expected)
    assert tiny_base.model.model.multi_modal_projector is module


def test_equal_projectors_are_the_shared_one(
    tiny_base: BaseModel, tiny_vision: VisionFeatures, handles: dict[str, Parameter]
) -> None:
    same, plain = projector(handles, 5), random_bank(handles, 2).subspaces
    weights = torch.tensor([[0.3, 0.7]]).expand(4, 2)
    with BankSession(tiny_base, Bank(plain, same)) as session:
        expected = logits(session, tiny_vision, weights)
    each = Bank(tuple(replace(subspace, projector=same) for subspace in plain))
    with BankSession(tiny_base, each) as session:
        torch.testing.assert_close(
            logits(session, tiny_vision, weights), expected, rtol=1e-3, atol=2e-3
        )


def test_the_weights_of_projectors_sum_to_one() -> None:
    weights = torch.tensor([[1.0, 0, 0], [1, 1, 1], [0.6, -0.5, 0.2], [-1, -1, 0], [0, 0, 0]])
    third = 1 / 3
    expected = [[1, 0, 0], [third] * 3, [0.75, 0, 0.25], [third] * 3, [third] * 3]
    torch.testing.assert_close(projector_weights(weights), torch.tensor(expected))
    soft = functional.softmax(torch.randn(50, 7), dim=1)
    torch.testing.assert_close(projector_weights(soft), soft)


@pytest.mark.parametrize("failing", [False, True])
def test_a_session_leaves_no_trace(
    tiny_base: BaseModel, adapted: PeftModel, handles: dict[str, Parameter], failing: bool
) -> None:
    before = fingerprint(adapted)
    bank = bank_of(handles, 2)
    if failing:
        with pytest.raises(KeyboardInterrupt), BankSession(tiny_base, bank):
            raise KeyboardInterrupt
    else:
        with BankSession(tiny_base, bank) as session, session.weighted(torch.ones(1, 2)):
            pass
    assert fingerprint(adapted) == before
    now = parameter_handles(adapted, projector=True)
    assert all(now[name] is handles[name] for name in handles)


def test_what_does_not_fit_is_refused(
    tiny_base: BaseModel, tiny_vision: VisionFeatures, handles: dict[str, Parameter]
) -> None:
    first, second = bank_of(handles, 2).subspaces
    odd = {**(second.projector or {}), "strange": np.zeros(1, np.float32)}
    for bank, said in (
        (Bank((first, replace(second, projector=None))), "Only 1 .* a projector of their own"),
        (Bank((first, replace(second, projector=odd))), "projector of subspace 1"),
    ):
        with pytest.raises(ModelError, match=said), BankSession(tiny_base, bank):
            pass
    with BankSession(tiny_base, Bank((first, second))) as session:
        with pytest.raises(RuntimeError, match="no weights"):
            tiny_base.model.model.multi_modal_projector(tiny_vision.of(SAMPLES))
        with pytest.raises(RuntimeError, match="do not fit"):
            logits(session, tiny_vision, torch.ones(3, 2))


@pytest.mark.parametrize("own", [False, True], ids=["shared", "per-subspace"])
def test_who_wakes_none_gets_the_bases_own_answer_and_the_others_theirs(
    tiny_base: BaseModel, tiny_vision: VisionFeatures, handles: dict[str, Parameter], own: bool
) -> None:
    bank = bank_of(handles, 2)
    if not own:
        bank = Bank(random_bank(handles, 2).subspaces, projector(handles, 9))
    weights = torch.tensor([[0.3, 0.7], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    awake = [0, 2]
    with BankSession(tiny_base, Bank()) as session:
        base = logits(session, tiny_vision, weights)
    with BankSession(tiny_base, bank) as session:
        plain = logits(session, tiny_vision, weights)
    with BankSession(tiny_base, bank, open_world=True) as session:
        found = logits(session, tiny_vision, weights)
    asleep = [1, 3]
    torch.testing.assert_close(found[asleep], base[asleep], rtol=1e-4, atol=1e-4)
    assert (plain[asleep] - base[asleep]).abs().max() > 0.01, "the trained projector matters"
    torch.testing.assert_close(found[awake], plain[awake], rtol=1e-5, atol=1e-5)


def test_a_batch_in_which_all_are_awake_keeps_its_bits(
    tiny_base: BaseModel, tiny_vision: VisionFeatures, handles: dict[str, Parameter]
) -> None:
    bank = Bank(random_bank(handles, 2).subspaces, projector(handles, 9))
    weights = torch.rand(4, 2, generator=torch.Generator().manual_seed(0)) + 0.1
    with BankSession(tiny_base, bank) as session:
        plain = logits(session, tiny_vision, weights)
    with BankSession(tiny_base, bank, open_world=True) as session:
        assert torch.equal(logits(session, tiny_vision, weights), plain)


def test_the_bases_projector_takes_what_nobody_wants() -> None:
    weights = torch.tensor([[0.25, 0.75], [0.0, 0.0]])
    assert open_world_weights(weights, shared=True).tolist() == [[1, 0], [0, 1]]
    assert open_world_weights(weights, shared=False).tolist() == [[0.25, 0.75, 0], [0, 0, 1]]
