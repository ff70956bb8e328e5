"""A base packed into 4 or 8 bits trains and answers on this machine, with right gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bitsandbytes
import pytest
import torch
from tiny_llava import save_tiny_llava, toy_samples
from tiny_models import save_tiny_model
from toy_banks import RANK, SCALING, random_bank, same_bits

from fcit_app.evaluate.answer import answer
from fcit_app.model.adapters import initial_adapter, parameter_handles, read_parameters, wrap
from fcit_app.model.base import BaseModel, load_base
from fcit_app.model.settings import BaseSettings
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.loop import FitResult, TrainConfig, fit

CONFIG = TrainConfig(steps=4, batch_size=4, learning_rate=1e-2, projector_learning_rate=1e-3)
LAYERS: dict[str, Any] = {
    "nf4": bitsandbytes.nn.Linear4bit,
    "int8": bitsandbytes.nn.Linear8bitLt,
}


@pytest.fixture(scope="module", params=["llava", "qwen2_5_vl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("base")
    if request.param == "llava":
        return save_tiny_llava(place, hidden=64)  # nf4 packs 64 numbers at a time
    return save_tiny_model(request.param, place)


def trained(base: BaseModel) -> FitResult:
    handles = parameter_handles(wrap(base, RANK, SCALING), projector=True)
    start = read_parameters(handles) | initial_adapter(handles, seed=0)
    return fit(base, handles, start, toy_samples(4), VisionFeatures(base), 1, CONFIG)


def gradient(base: BaseModel) -> torch.Tensor:
    """Of a feed-forward block's squared output by its input, in training mode."""
    block = base.decoder.layers[0].mlp
    was_training = block.training
    block.train()
    inputs = torch.linspace(-1, 1, 2 * 64).reshape(1, 2, 64).requires_grad_()
    (found,) = torch.autograd.grad(block(inputs).square().sum(), inputs)
    block.train(was_training)
    return found


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_a_packed_base_trains_and_answers(folder: Path, kind: Any) -> None:
    exact = load_base(str(folder))
    true = gradient(exact)
    reference = trained(exact)
    base = load_base(BaseSettings(str(folder), quantization=kind))
    packed = {name for name, m in base.model.named_modules() if isinstance(m, LAYERS[kind])}
    assert packed and all(name.startswith(base.architecture.decoder) for name in packed)
    first = trained(base)
    assert first.loss_last < first.loss_first
    assert first.loss_first == pytest.approx(reference.loss_first, rel=0.2)

    before = gradient(base)
    handles = parameter_handles(wrap(base, RANK, SCALING), projector=True)
    with BankSession(base, random_bank(handles, 2)) as session:
        said = answer(session, toy_samples(3), VisionFeatures(base), torch.full((3, 2), 0.5))
    assert len(said) == 3
    # the evaluation has packed nothing anew: what is trained afterwards is what was trained before
    assert torch.equal(gradient(base), before)
    assert same_bits(trained(base).arrays, first.arrays)
    # and these gradients are the exact base's, but for what few bits cannot hold
    assert torch.cosine_similarity(before.flatten(), true.flatten(), dim=0) > 0.95
