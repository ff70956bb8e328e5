"""What the pages compare is right: the workload, the official way, the plain loop."""

from __future__ import annotations

import generation
import numpy as np
import pytest
import torch
from official import official_layers
from plain_peft import collate, train_plainly
from random_llava import build_base, save_folder
from sizes import RANK, SCALING, SIZES
from workload import mixed_lengths, random_bank, random_start, samples_of

from fcit_app.evaluate.answer import answer
from fcit_app.model.adapters import parameter_handles, wrap
from fcit_app.model.base import BaseModel, load_base
from fcit_app.model.prompt import encode_dialogues
from fcit_app.model.settings import BaseSettings
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.collate import Collator
from fcit_app.train.loop import answer_loss

TINY, CPU = SIZES["tiny"], torch.device("cpu")


@pytest.fixture(scope="module")
def base() -> BaseModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = build_base(TINY, CPU)
    wrap(made, RANK, SCALING)
    return made


@pytest.mark.parametrize("name", SIZES)
def test_samples_have_exactly_the_wanted_tokens(name: str, base: BaseModel) -> None:
    size = SIZES[name]
    speaker = base if name == "tiny" else build_base(size, torch.device("meta"))
    lengths = [size.tokens, *mixed_lengths(size, 5)]
    found = encode_dialogues(speaker, samples_of(speaker, size, lengths))
    assert [len(row) for row, _ in found] == lengths
    assert all(len(row) - prompt == 5 for row, prompt in found)
    assert np.mean(lengths[1:]) == size.tokens and max(lengths) == size.tokens + size.spread


def test_all_answers_have_the_same_number_of_tokens(base: BaseModel) -> None:
    samples = samples_of(base, TINY, [TINY.tokens] * 3)
    calls: list[int] = []
    layer = base.model.model.language_model.layers[0]
    hook = layer.register_forward_hook(lambda *_: calls.append(1))
    try:
        with BankSession(base, random_bank(_handles(base))) as session:
            answer(session, samples, VisionFeatures(base), torch.ones(3, 8), 3)
    finally:
        hook.remove()
    assert len(calls) == TINY.answer_tokens


@pytest.mark.parametrize("weights", [[0.125] * 8, [0.7, 0.3, 0, 0, 0, 0, 0, 0]])
@torch.no_grad()
def test_the_official_way_computes_what_ours_computes(
    base: BaseModel, weights: list[float]
) -> None:
    model, bank = base.adapted, random_bank(_handles(base))
    assert model is not None
    inputs = torch.randn(2, 7, TINY.hidden, generator=torch.Generator().manual_seed(0))
    language = base.model.model.language_model

    def output() -> torch.Tensor:
        result: torch.Tensor = language(inputs_embeds=inputs).last_hidden_state
        return result

    before = output()
    adapters = [subspace.adapter for subspace in bank.subspaces]
    with official_layers(model, adapters, weights, SCALING):
        official = output()
    with BankSession(base, bank) as session, session.weighted(torch.tensor([weights] * 2)):
        ours = output()
    torch.testing.assert_close(official, ours, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(official, before, rtol=1e-4, atol=1e-5)
    assert torch.equal(output(), before)


@torch.no_grad()
def test_one_adapter_merged_computes_what_it_computes_unmerged(base: BaseModel) -> None:
    bank = random_bank(_handles(base))
    inputs = torch.randn(1, 5, TINY.hidden, generator=torch.Generator().manual_seed(1))
    before = {name: p.clone() for name, p in base.model.named_parameters()}
    outputs = []
    for way in (generation.with_one_adapter, generation.with_one_merged):
        with way(base, bank):
            language = base.model.model.language_model
            outputs.append(language(inputs_embeds=inputs).last_hidden_state)
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    frozen = {n: p for n, p in base.model.named_parameters() if ".lora_" not in n}
    assert all(torch.equal(before[name], value) for name, value in frozen.items())


def test_the_plain_loops_loss_is_the_products(base: BaseModel) -> None:
    samples = samples_of(base, TINY, mixed_lengths(TINY, 3))
    with torch.no_grad():
        plain = base.model(**collate(base, samples)).loss
        batch = Collator(base, samples).batch(range(3))
        ours = answer_loss(base, batch, VisionFeatures(base).of(samples))
    torch.testing.assert_close(plain, ours, rtol=1e-4, atol=1e-5)


def test_the_plain_loop_trains_and_leaves_no_trace(base: BaseModel) -> None:
    assert base.adapted is not None
    handles = parameter_handles(base.adapted, projector=True)
    before = {name: p.clone() for name, p in base.adapted.named_parameters()}
    start = {name: handle.detach().clone() for name, handle in handles.items()}
    still: list[set[str]] = []

    def step() -> None:
        still.append({n for n, handle in handles.items() if torch.equal(start[n], handle)})

    train_plainly(base, samples_of(base, TINY, [TINY.tokens] * 4), 2, 0, step)
    assert not still[1]
    assert all(torch.equal(before[name], p) for name, p in base.adapted.named_parameters())
    assert not base.model.is_gradient_checkpointing


def test_a_saved_folder_is_a_base_for_the_product(tmp_path) -> None:
    folder = save_folder(TINY, CPU, tmp_path / "base")
    loaded = load_base(BaseSettings(str(folder), prompt="vicuna-v1", device="cpu"))
    assert loaded.image_tokens == TINY.image_tokens
    lengths = [TINY.tokens, TINY.tokens + 3]
    found = encode_dialogues(loaded, samples_of(loaded, TINY, lengths))
    assert [len(row) for row, _ in found] == lengths


def test_training_starts_from_a_fresh_adapter(base: BaseModel) -> None:
    start = random_start(parameter_handles(base.adapted, projector=True))
    assert all(not values.any() for name, values in start.items() if ".lora_B" in name)


def _handles(base: BaseModel):
    return parameter_handles(base.adapted, projector=False)
