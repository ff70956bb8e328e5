"""A base in bfloat16 or with another attention trains and answers; what is trained is float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from app_runs import run_config, serve
from tiny_llava import toy_samples
from toy_banks import RANK, SCALING, random_bank

from fcit_app.errors import ModelError
from fcit_app.evaluate.answer import answer
from fcit_app.model import precision
from fcit_app.model.adapters import initial_adapter, parameter_handles, read_parameters, wrap
from fcit_app.model.architectures import ARCHITECTURES
from fcit_app.model.base import BaseModel, load_base
from fcit_app.model.precision import loading_options, resolved
from fcit_app.model.settings import BaseSettings
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.loop import FitResult, TrainConfig, fit

CONFIG = TrainConfig(steps=6, batch_size=4, learning_rate=1e-2, projector_learning_rate=1e-3)


def trained(base: BaseModel) -> FitResult:
    handles = parameter_handles(wrap(base, RANK, SCALING), projector=True)
    assert {handle.dtype for handle in handles.values()} == {torch.float32}
    start = read_parameters(handles) | initial_adapter(handles, seed=0)
    return fit(base, handles, start, toy_samples(4), VisionFeatures(base), 1, CONFIG)


def test_a_bfloat16_base_trains_float32_arrays(tiny_folder: Path) -> None:
    exact = trained(load_base(str(tiny_folder)))
    base = load_base(BaseSettings(str(tiny_folder), dtype="bfloat16"))
    frozen = {p.dtype for n, p in base.model.named_parameters() if "projector" not in n}
    assert frozen == {torch.bfloat16}
    rough = trained(base)
    assert {array.dtype for array in rough.arrays.values()} == {np.dtype(np.float32)}
    assert rough.loss_last < rough.loss_first
    assert rough.loss_first == pytest.approx(exact.loss_first, rel=0.05)
    # master weights: numbers that bfloat16 cannot hold
    moved = next(iter(rough.arrays.values()))
    assert (torch.from_numpy(moved).bfloat16().float().numpy() != moved).any()


def test_a_bfloat16_base_answers_with_a_bank(tiny_folder: Path) -> None:
    base = load_base(BaseSettings(str(tiny_folder), dtype="bfloat16"))
    handles = parameter_handles(wrap(base, RANK, SCALING), projector=True)
    samples = toy_samples(3)
    with BankSession(base, random_bank(handles, 2)) as session:
        said = answer(session, samples, VisionFeatures(base), torch.full((3, 2), 0.5))
    assert len(said) == 3


def test_attention_by_sdpa_is_the_same_to_rounding(tiny_folder: Path) -> None:
    eager = trained(load_base(str(tiny_folder)))
    base = load_base(BaseSettings(str(tiny_folder), attention="sdpa"))
    assert base.model.config._attn_implementation == "sdpa"
    np.testing.assert_allclose(trained(base).losses, eager.losses, rtol=1e-3)


def test_auto_means_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, device, dtype in ((False, "cpu", "float32"), (True, "cuda", "bfloat16")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        found = resolved(BaseSettings("mini"))
        assert (found.device, found.dtype) == (device, dtype)
        assert resolved(BaseSettings("mini", device="cpu")).dtype == "float32"
        assert resolved(BaseSettings("mini", dtype="float32")).dtype == "float32"


def test_what_this_machine_cannot_do_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"model\.device is 'cuda'.*--client-gpus"):
        load_base(BaseSettings("mini", device="cuda"))
    with pytest.raises(ModelError, match=r"flash_attention_2.*would be cpu in float32.*sdpa"):
        load_base(BaseSettings("mini", attention="flash_attention_2"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(precision, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"needs the package bitsandbytes.*pip install"):
        load_base(BaseSettings("mini", quantization="int8"))
    with pytest.raises(ModelError, match=r"needs the package flash-attn.*pip install"):
        load_base(BaseSettings("mini", attention="flash_attention_2"))


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_tower_and_projector_are_left_unquantised(kind: Any) -> None:
    settings = BaseSettings("mini", quantization=kind, device="cuda", dtype="bfloat16")
    options = loading_options(settings, ARCHITECTURES["llava"].unquantized)
    packed = options["quantization_config"]
    unquantized = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]
    assert packed.llm_int8_skip_modules == unquantized
    assert (packed.load_in_4bit, packed.load_in_8bit) == (kind == "nf4", kind == "int8")
    assert options["device_map"] == {"": "cuda"}
    assert "quantization_config" not in loading_options(BaseSettings("mini", dtype="float32"), [])


@pytest.mark.parametrize("checkpointing", [False, True])
def test_on_a_bfloat16_base_nothing_wide_becomes_float32(
    tiny_folder: Path, checkpointing: bool
) -> None:
    base = load_base(BaseSettings(str(tiny_folder), dtype="bfloat16"))
    adapted = wrap(base, RANK, SCALING)
    seen: set[torch.dtype] = set()

    def look(module: Any, inputs: Any, output: Any) -> None:
        seen.update({inputs[0].dtype, output.dtype})

    layers = [m for n, m in adapted.named_modules() if n.endswith(("gate_proj", "down_proj"))]
    below = [m for n, m in adapted.named_modules() if ".lora_" in n and hasattr(m, "in_features")]
    hooks = [module.register_forward_hook(look) for module in (*layers, *below)]
    try:
        handles = parameter_handles(adapted, projector=True)
        start = read_parameters(handles) | initial_adapter(handles, seed=0)
        config = replace(CONFIG, gradient_checkpointing=checkpointing)
        found = fit(base, handles, start, toy_samples(4), VisionFeatures(base), 1, config)
        assert seen == {torch.bfloat16}
        seen.clear()
        samples = toy_samples(3)
        with BankSession(base, random_bank(handles, 2)) as session:
            answer(session, samples, VisionFeatures(base), torch.full((3, 2), 0.5))
        assert seen == {torch.bfloat16}
    finally:
        for hook in hooks:
            hook.remove()
    plain = fit(base, handles, start, toy_samples(4), VisionFeatures(base), 1, CONFIG)
    np.testing.assert_allclose(found.losses, plain.losses, rtol=2e-2)


@pytest.mark.parametrize("method", ["ewc", "o-lora", "moelora", "l2p"])
def test_every_kind_of_adapter_works_in_bfloat16(
    method: str, tiny_folder: Path, tmp_path: Path
) -> None:
    changes = {"model__dtype": "bfloat16", "train__gradient_checkpointing": True}
    folder = serve(run_config(tiny_folder, tmp_path / "run", method=method, **changes))
    losses = [e["loss"] for e in folder.ledger.read() if e["event"] == "client-replied"]
    assert len(losses) == 4 and all(np.isfinite(losses))
