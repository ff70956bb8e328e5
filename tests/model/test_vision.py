"""Cached picture features give what pixels give, and the cache is bounded and exact."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_llava import toy_samples

from fcit_app.model.base import BaseModel
from fcit_app.model.prompt import prompt_text
from fcit_app.model.vision import VisionFeatures, padded_to_square


@pytest.fixture
def pixel_inputs(tiny_base: BaseModel) -> dict[str, torch.Tensor]:
    samples = toy_samples(4)
    inputs = tiny_base.processor(
        images=[sample.picture() for sample in samples],
        text=[prompt_text(tiny_base, sample.question) for sample in samples],
        add_special_tokens=False,
        return_tensors="pt",
        padding=True,
        padding_side="left",
    )
    return dict(inputs)


def cached_inputs(base: BaseModel, pixels: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    features = VisionFeatures(base).of(toy_samples(4))
    return {
        "inputs_embeds": base.embed(pixels["input_ids"], features),
        "attention_mask": pixels["attention_mask"],
    }


@torch.no_grad()
def test_logits_equal_those_from_pixels(
    tiny_base: BaseModel, pixel_inputs: dict[str, torch.Tensor]
) -> None:
    expected = tiny_base.model(**pixel_inputs).logits
    actual = tiny_base.model(**cached_inputs(tiny_base, pixel_inputs)).logits
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_generated_tokens_equal_those_from_pixels(
    tiny_base: BaseModel, pixel_inputs: dict[str, torch.Tensor]
) -> None:
    options = {"max_new_tokens": 6, "do_sample": False}
    from_pixels = tiny_base.model.generate(**pixel_inputs, **options)
    from_cache = tiny_base.model.generate(**cached_inputs(tiny_base, pixel_inputs), **options)
    assert torch.equal(from_pixels[:, pixel_inputs["input_ids"].shape[1] :], from_cache)


def test_features_do_not_depend_on_the_pictures_computed_with_them(tiny_base: BaseModel) -> None:
    samples = toy_samples(37)
    together = VisionFeatures(tiny_base).of(samples)
    assert torch.equal(VisionFeatures(tiny_base).of(samples[::-1]), together.flip(0))
    alone = torch.cat([VisionFeatures(tiny_base).of([sample]) for sample in samples])
    assert torch.equal(alone, together)


def test_each_picture_is_computed_once(tiny_base: BaseModel) -> None:
    vision, samples = VisionFeatures(tiny_base), toy_samples(5)
    calls: list[int] = []
    tower = tiny_base.model.model.vision_tower
    hook = tower.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        first = vision.of([*samples, samples[0]])
        assert torch.equal(vision.of(samples), first[:5]) and torch.equal(first[5], first[0])
    finally:
        hook.remove()
    assert len(calls) == 1


def test_the_cache_keeps_its_budget_and_stays_right(tiny_base: BaseModel) -> None:
    samples = toy_samples(20)
    expected = VisionFeatures(tiny_base).of(samples)
    budget = 3 * expected[0].nbytes
    vision = VisionFeatures(tiny_base, budget_bytes=budget)
    for _ in range(2):
        assert torch.equal(vision.of(samples), expected)
        assert sum(features.nbytes for features in vision._kept.values()) == budget


def test_the_towers_mode_is_left_alone(tiny_base: BaseModel) -> None:
    tower = tiny_base.model.model.vision_tower
    tower.train()
    try:
        features = VisionFeatures(tiny_base).of(toy_samples(1))
        assert tower.training and not features.requires_grad
    finally:
        tower.eval()


CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)


@pytest.mark.parametrize("size", [(5, 2), (2, 5), (4, 1)])
def test_padding_puts_the_picture_amid_clips_mean_colour(size: tuple[int, int]) -> None:
    picture = Image.fromarray(np.full((size[1], size[0], 3), 7, np.uint8))
    padded = np.asarray(padded_to_square(picture, CLIP_MEAN))
    side = max(size)
    assert padded.shape == (side, side, 3)
    inside = (padded == 7).all(axis=2)
    assert inside.sum() == size[0] * size[1]
    assert (padded[~inside] == (122, 116, 104)).all()
    rows, columns = np.nonzero(inside)
    assert (columns.min(), rows.min()) == ((side - size[0]) // 2, (side - size[1]) // 2)


def test_only_pictures_that_are_no_squares_are_padded(tiny_base: BaseModel) -> None:
    padding = dataclasses.replace(tiny_base, pad_to_square=True)
    square = toy_samples(2)
    assert torch.equal(VisionFeatures(padding).of(square), VisionFeatures(tiny_base).of(square))
    wide = Image.new("RGB", (48, 24), "red")
    samples = [dataclasses.replace(square[0], identifier="wide", picture=lambda: wide)]
    assert not torch.equal(
        VisionFeatures(padding).of(samples), VisionFeatures(tiny_base).of(samples)
    )
