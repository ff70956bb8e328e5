"""One stacked adapter with a gate equals the weighted sum of adapters, computed without PEFT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from tiny_llava import toy_samples
from torch.nn import Parameter
from toy_banks import (
    RANK,
    SCALING,
    fingerprint,
    merged_by_hand,
    random_adapter,
    random_bank,
)
from transformers import LlavaForConditionalGeneration

from fcit_app.errors import ModelError
from fcit_app.model.adapters import load_parameters_, parameter_handles, wrap
from fcit_app.model.bank import Bank, Subspace
from fcit_app.model.base import BaseModel, _load_base
from fcit_app.model.precision import resolved
from fcit_app.model.prompt import encode_prompts
from fcit_app.model.settings import BaseSettings
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures

SAMPLES = [sample for sample in toy_samples(16) if sample.question.startswith("Which")]
Inputs = dict[str, torch.Tensor]


@pytest.fixture
def adapted(tiny_base: BaseModel) -> PeftModel:
    return wrap(tiny_base, RANK, SCALING)


@pytest.fixture
def handles(adapted: PeftModel) -> dict[str, Parameter]:
    return parameter_handles(adapted, projector=False)


@pytest.fixture(scope="module")
def plain(tiny_folder: Path) -> Any:
    """The same base, without PEFT."""
    return LlavaForConditionalGeneration.from_pretrained(tiny_folder, attn_implementation="eager")


@pytest.fixture(scope="module")
def inputs(tiny_base: BaseModel) -> Inputs:
    """Four rows of equal length."""
    ids = torch.tensor(encode_prompts(tiny_base, SAMPLES))
    return {"inputs_embeds": tiny_base.embed(ids, VisionFeatures(tiny_base).of(SAMPLES))}


def weights_of(seed: int, count: int) -> torch.Tensor:
    """Weights for four rows: any real numbers, negative ones too."""
    return torch.randn(4, count, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def logits(session: BankSession, inputs: Inputs, weights: torch.Tensor) -> torch.Tensor:
    with session.weighted(weights):
        out: torch.Tensor = session.base.model(**inputs).logits
    return out


def adapters_of(bank: Bank) -> list[Any]:
    return [subspace.adapter for subspace in bank.subspaces]


@torch.no_grad()
def by_hand(plain: Any, bank: Bank, inputs: Inputs, weights: torch.Tensor) -> torch.Tensor:
    """Logits of one densely merged model per row."""
    rows = []
    for row, weight in enumerate(weights.tolist()):
        model = merged_by_hand(plain, adapters_of(bank), weight)
        rows.append(model(inputs_embeds=inputs["inputs_embeds"][row : row + 1]).logits)
    return torch.cat(rows)


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_each_row_equals_its_dense_sum(
    tiny_base: BaseModel, handles: dict[str, Parameter], plain: Any, inputs: Inputs, count: int
) -> None:
    bank, weights = random_bank(handles, count), weights_of(1, count)
    with BankSession(tiny_base, bank) as session:
        mixed = logits(session, inputs, weights)
    close(mixed, by_hand(plain, bank, inputs, weights))
    assert (mixed - by_hand(plain, bank, inputs, 0 * weights)).abs().max() > 0.1


def test_one_hot_is_the_single_adapter(
    tiny_base: BaseModel, handles: dict[str, Parameter], inputs: Inputs
) -> None:
    bank = random_bank(handles, 3)
    chosen = [2, 0, 1, 1]
    with BankSession(tiny_base, bank) as session:
        mixed = logits(session, inputs, torch.eye(3)[chosen])
    for row, number in enumerate(chosen):
        load_parameters_(handles, bank.subspaces[number].adapter)
        with torch.no_grad():
            close(mixed[row], tiny_base.model(**inputs).logits[row])


@torch.no_grad()
def test_zero_weights_and_the_empty_bank_are_the_base(
    tiny_base: BaseModel, handles: dict[str, Parameter], plain: Any, inputs: Inputs
) -> None:
    expected = plain(**inputs).logits
    with BankSession(tiny_base, random_bank(handles, 2)) as session:
        assert torch.equal(logits(session, inputs, torch.zeros(4, 2)), expected)
    with BankSession(tiny_base, Bank()) as session:
        assert torch.equal(logits(session, inputs, torch.zeros(4, 0)), expected)


def test_the_order_of_subspaces_does_not_matter(
    tiny_base: BaseModel, handles: dict[str, Parameter], inputs: Inputs
) -> None:
    bank, weights, order = random_bank(handles, 3), weights_of(2, 3), [2, 0, 1]
    with BankSession(tiny_base, bank) as session:
        expected = logits(session, inputs, weights)
    turned = Bank(tuple(bank.subspaces[place] for place in order))
    with BankSession(tiny_base, turned) as session:
        close(logits(session, inputs, weights[:, order]), expected)


def test_a_mixed_batch_equals_its_rows_alone(
    tiny_base: BaseModel, handles: dict[str, Parameter], inputs: Inputs
) -> None:
    weights = weights_of(3, 3)
    with BankSession(tiny_base, random_bank(handles, 3)) as session:
        together = logits(session, inputs, weights)
        for row in range(4):
            one = {"inputs_embeds": inputs["inputs_embeds"][row : row + 1]}
            close(logits(session, one, weights[row : row + 1]), together[row : row + 1])


@pytest.mark.parametrize("failing", [False, True])
def test_a_session_leaves_no_trace(
    tiny_base: BaseModel, adapted: PeftModel, handles: dict[str, Parameter], failing: bool
) -> None:
    load_parameters_(handles, random_adapter(handles, seed=9))
    projector = {
        name: np.full(tuple(p.shape), 0.5, np.float32)
        for name, p in parameter_handles(adapted, projector=True).items()
        if "projector" in name
    }
    bank = Bank(random_bank(handles, 2).subspaces, projector)
    before, random_state = fingerprint(adapted), torch.get_rng_state()

    def inside() -> None:
        with BankSession(tiny_base, bank):
            weight = tiny_base.model.model.multi_modal_projector.linear_1.weight
            assert bool((weight == 0.5).all())
            if failing:
                raise KeyboardInterrupt

    if failing:
        with pytest.raises(KeyboardInterrupt):
            inside()
    else:
        inside()
    assert fingerprint(adapted) == before and adapted.active_adapter == "client"
    assert list(adapted.peft_config) == ["client"]
    assert torch.equal(torch.get_rng_state(), random_state)
    now = parameter_handles(adapted, projector=False)
    assert all(now[name] is handles[name] for name in handles)


def test_a_bank_that_does_not_fit_changes_nothing(
    tiny_base: BaseModel, adapted: PeftModel, handles: dict[str, Parameter]
) -> None:
    good = random_bank(handles, 2).subspaces
    name = next(iter(handles))
    bad = Subspace(7, good[0].adapter | {name: np.zeros((1, 1), np.float32)}, good[0].token, 1)
    nameless = Subspace(8, good[0].adapter, None, 1)
    before = fingerprint(adapted)
    for bank, said in [
        (Bank((good[0], bad)), "subspace 7.*shape"),
        (Bank((good[0], nameless)), "Only 1 of the bank's 2 subspaces"),
        (Bank(good, {"strange": np.zeros(1, np.float32)}), "projector of the bank"),
    ]:
        with pytest.raises(ModelError, match=said), BankSession(tiny_base, bank):
            pass
        assert fingerprint(adapted) == before


def test_misuse_of_weights_raises(
    tiny_base: BaseModel, handles: dict[str, Parameter], inputs: Inputs
) -> None:
    with BankSession(tiny_base, random_bank(handles, 2)) as session:
        with pytest.raises(RuntimeError, match="no weights"):
            tiny_base.model(**inputs)
        wrong: Sequence[torch.Tensor] = [torch.ones(3, 2), torch.ones(1, 2), torch.ones(4, 3)]
        for weights in wrong:
            with pytest.raises(RuntimeError, match="do not fit"):
                logits(session, inputs, weights)
        with (
            pytest.raises(RuntimeError, match="already"),
            BankSession(tiny_base, random_bank(handles, 1)),
        ):
            pass
        assert torch.isfinite(logits(session, inputs, torch.ones(4, 2))).all()


def test_an_unwrapped_base_answers_without_a_bank_only(
    tiny_folder: Path, handles: dict[str, Parameter]
) -> None:
    fresh = _load_base.__wrapped__(resolved(BaseSettings(str(tiny_folder))))
    with BankSession(fresh, Bank()):
        assert fresh.adapted is None
    with (
        pytest.raises(ModelError, match="wrap"),
        BankSession(fresh, random_bank(handles, 1)),
    ):
        pass
