"""Questions without a picture: beside others in a batch, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_llava import toy_samples
from tiny_models import save_tiny_model
from toy_banks import RANK, SCALING, same_bits

from fcit_app.data.sample import Sample
from fcit_app.errors import DataError
from fcit_app.identity.encoders import HashedNgramEncoder
from fcit_app.methods.ewc import fisher_diagonal
from fcit_app.model.adapters import (
    initial_adapter,
    is_adapter,
    parameter_handles,
    read_parameters,
    wrap,
)
from fcit_app.model.base import BaseModel, load_base
from fcit_app.model.features import PictureFeatures, sample_features
from fcit_app.model.prompt import encode_prompts, prompt_text
from fcit_app.model.vision import VisionFeatures
from fcit_app.reference.blind import exchange_pictures
from fcit_app.train.collate import Collator
from fcit_app.train.loop import TrainConfig, answer_loss, fit

CONFIG = TrainConfig(steps=4, batch_size=4, learning_rate=1e-2, projector_learning_rate=1e-3)


def without(samples: list[Sample], *numbers: int) -> list[Sample]:
    """The same, these of them without their pictures; all of them if none is named."""
    chosen = numbers or range(len(samples))
    return [
        replace(sample, picture=None) if number in chosen else sample
        for number, sample in enumerate(samples)
    ]


def loss_of(base: BaseModel, samples: list[Sample], vision: VisionFeatures) -> float:
    """Sum over the samples of the answer's negative log-likelihood."""
    batch = Collator(base, samples).batch(range(len(samples)))
    tokens = int((batch.labels[:, 1:] != -100).sum())
    with torch.no_grad():
        return float(answer_loss(base, batch, vision.of(samples))) * tokens


def test_the_prompt_has_no_placeholder(tiny_base: BaseModel) -> None:
    assert "<image>" not in prompt_text(tiny_base, "What?", pictured=False)
    plain, pictured = encode_prompts(tiny_base, without(toy_samples(1))), toy_samples(1)
    image = tiny_base.model.config.image_token_id
    assert image not in plain[0]
    assert encode_prompts(tiny_base, pictured)[0].count(image) == tiny_base.image_tokens
    vicuna = prompt_text(replace(tiny_base, prompt="vicuna-v1"), "What?", pictured=False)
    assert vicuna.endswith(" USER: What? ASSISTANT:")


@pytest.mark.parametrize("bare", [(), (0,), (1, 2), (0, 1, 2, 3)])
def test_a_records_loss_does_not_depend_on_its_batch(
    tiny_base: BaseModel, tiny_vision: VisionFeatures, bare: tuple[int, ...]
) -> None:
    wrap(tiny_base, RANK, SCALING)
    samples = without(toy_samples(4), *bare) if bare else toy_samples(4)
    together = loss_of(tiny_base, samples, tiny_vision)
    alone = sum(loss_of(tiny_base, [sample], tiny_vision) for sample in samples)
    assert together == pytest.approx(alone, rel=1e-5)


def test_training_on_both_is_pure_and_learns(
    tiny_base: BaseModel, tiny_vision: VisionFeatures
) -> None:
    handles = parameter_handles(wrap(tiny_base, RANK, SCALING), projector=True)
    start = read_parameters(handles) | initial_adapter(handles, seed=0)
    samples = without(toy_samples(6), 1, 4)
    first = fit(tiny_base, handles, start, samples, tiny_vision, 1, CONFIG)
    again = fit(tiny_base, handles, start, samples, VisionFeatures(tiny_base), 1, CONFIG)
    assert same_bits(first.arrays, again.arrays)
    assert first.loss_last < first.loss_first


def test_text_alone_leaves_the_projector_as_it_was(
    tiny_base: BaseModel, tiny_vision: VisionFeatures
) -> None:
    handles = parameter_handles(wrap(tiny_base, RANK, SCALING), projector=True)
    start = read_parameters(handles) | initial_adapter(handles, seed=0)
    samples = without(toy_samples(4))
    found = fit(tiny_base, handles, start, samples, tiny_vision, 1, CONFIG).arrays
    for name in handles:
        moved = not np.array_equal(found[name], start[name])
        assert moved == is_adapter(name)
    fisher = fisher_diagonal(tiny_base, handles, start, samples, tiny_vision)
    assert all(not fisher[name].any() for name in handles if not is_adapter(name))


def test_what_needs_a_picture_says_so(
    tiny_base: BaseModel, tiny_vision: VisionFeatures, tmp_path
) -> None:
    samples = without(toy_samples(3), 1)
    name = samples[1].identifier
    for source in ("image", "text+image"):
        features = sample_features(source, HashedNgramEncoder(), tiny_vision)
        with pytest.raises(DataError, match=rf"'{name}' of figureqa is text alone.*token = text"):
            features.of(samples)
    with pytest.raises(DataError, match=rf"exchanges pictures.*'{name}' of figureqa has none"):
        exchange_pictures(samples, 0)
    blind = load_base(str(save_tiny_model("llama", tmp_path / "llama")))
    with pytest.raises(DataError, match=r"has a picture, but the base '.*' is a model of text alo"):
        VisionFeatures(blind).of(samples)
    assert PictureFeatures(tiny_vision).of(samples[:1]).shape == (1, 32)
