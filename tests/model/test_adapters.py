"""Adapters sit in the feed-forward layers only, have pinned names, and refuse strangers' arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from tiny_llava import toy_samples
from torch.nn import Parameter
from toy_banks import RANK, SCALING, fingerprint, random_adapter, same_bits

from fcit_app.errors import ModelError
from fcit_app.model.adapters import (
    initial_adapter,
    is_adapter,
    load_parameters_,
    parameter_handles,
    read_parameters,
    wrap,
)
from fcit_app.model.base import BaseModel
from fcit_app.model.prompt import encode_prompts
from fcit_app.model.vision import VisionFeatures


@pytest.fixture
def adapted(tiny_base: BaseModel) -> PeftModel:
    return wrap(tiny_base, RANK, SCALING)


@pytest.fixture
def handles(adapted: PeftModel) -> dict[str, Parameter]:
    return parameter_handles(adapted, projector=True)


def test_wire_names_are_pinned(adapted: PeftModel) -> None:
    layers = [
        f"base_model.model.model.language_model.layers.{number}.mlp.{name}.lora_{matrix}.weight"
        for number in range(2)
        for name in ("down_proj", "gate_proj", "up_proj")
        for matrix in "AB"
    ]
    projector = [
        f"base_model.model.model.multi_modal_projector.linear_{number}.{kind}"
        for number in (1, 2)
        for kind in ("bias", "weight")
    ]
    assert list(parameter_handles(adapted, projector=False)) == layers
    assert list(parameter_handles(adapted, projector=True)) == layers + projector
    own = get_peft_model_state_dict(adapted, adapter_name="client", save_embedding_layers=False)
    assert sorted(own) == layers


def test_only_the_adapter_is_trainable(adapted: PeftModel) -> None:
    trainable = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert len(trainable) == 12 and all(".mlp." in name and "lora_" in name for name in trainable)


def test_wrapping_again_gives_the_same_model(tiny_base: BaseModel, adapted: PeftModel) -> None:
    state = torch.get_rng_state()
    assert wrap(tiny_base, RANK, SCALING) is adapted
    assert torch.equal(torch.get_rng_state(), state)


def test_wrapping_otherwise_replaces_the_layers(tiny_base: BaseModel) -> None:
    wide = parameter_handles(wrap(tiny_base, 2 * RANK, SCALING, 0.1), projector=False)
    assert {min(handle.shape) for handle in wide.values()} == {2 * RANK}
    again = parameter_handles(wrap(tiny_base, RANK, SCALING), projector=False)
    assert list(again) == list(wide) and {min(h.shape) for h in again.values()} == {RANK}


@torch.no_grad()
def test_a_fresh_adapter_changes_nothing(
    tiny_base: BaseModel, adapted: PeftModel, tiny_vision: VisionFeatures
) -> None:
    handles = parameter_handles(adapted, projector=False)
    load_parameters_(handles, initial_adapter(handles, seed=1))
    samples = toy_samples(1)
    ids = torch.tensor(encode_prompts(tiny_base, samples))
    embedded = tiny_base.embed(ids, tiny_vision.of(samples))
    with_adapter = tiny_base.model(inputs_embeds=embedded).logits
    with adapted.disable_adapter():
        assert torch.equal(tiny_base.model(inputs_embeds=embedded).logits, with_adapter)


def test_initial_adapters_depend_on_the_seed_alone(handles: dict[str, Parameter]) -> None:
    first = initial_adapter(handles, seed=3)
    torch.manual_seed(99)
    reversed_handles = dict(reversed(handles.items()))
    assert same_bits(first, initial_adapter(reversed_handles, seed=3))
    assert not same_bits(first, initial_adapter(handles, seed=4))
    assert all(is_adapter(name) for name in first) and len(first) == 12
    a = np.concatenate([v.ravel() for n, v in first.items() if "lora_A" in n])
    assert 0.009 < a.std() < 0.011 and abs(a.mean()) < 0.001
    assert not any(v.any() for n, v in first.items() if "lora_B" in n)


def test_arrays_survive_the_model_and_are_not_tied_to_it(handles: dict[str, Parameter]) -> None:
    before = read_parameters(handles)
    drawn = before | random_adapter(handles, seed=5)
    load_parameters_(handles, drawn)
    read = read_parameters(handles)
    assert same_bits(read, drawn) and all(array.dtype == np.float32 for array in read.values())
    load_parameters_(handles, before)
    assert same_bits(read, drawn)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("extra", "1 unknown .*lm_head"),
        ("missing", "1 missing"),
        ("shape", "shape"),
        ("nan", "not finite"),
        ("infinite", "not finite"),
        ("huge", "not finite"),
        ("integer", "int64"),
        ("object", "object"),
    ],
)
def test_hostile_arrays_are_refused_and_leave_no_trace(
    adapted: PeftModel, handles: dict[str, Parameter], harm: str, said: str
) -> None:
    arrays: dict[str, Any] = {n: v + np.float32(1) for n, v in read_parameters(handles).items()}
    name = list(arrays)[-1]
    match harm:
        case "extra":
            head: Any = adapted.get_base_model().lm_head
            size = tuple(head.weight.shape)
            arrays["base_model.model.lm_head.weight"] = np.zeros(size, np.float32)
        case "missing":
            del arrays[name]
        case "shape":
            arrays[name] = arrays[name][:1]
        case "nan":
            arrays[name][0] = np.nan
        case "infinite":
            arrays[name][0] = np.inf
        case "huge":
            arrays[name] = np.full(arrays[name].shape, 1e300)
        case "integer":
            arrays[name] = arrays[name].astype(np.int64)
        case "object":
            arrays[name] = arrays[name].astype(object)
    before = fingerprint(adapted)
    with pytest.raises(ModelError, match=said):
        load_parameters_(handles, arrays)
    assert fingerprint(adapted) == before
