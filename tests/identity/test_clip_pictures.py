"""Identity tokens of pictures come from CLIP's own vision tower, after its projection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_llava import build_tokenizer, toy_picture, toy_samples
from transformers import CLIPConfig, CLIPModel, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fcit_app.errors import ModelError
from fcit_app.identity.encoders import load_encoder
from fcit_app.identity.pictures import load_picture_encoder
from fcit_app.model.features import sample_features
from fcit_app.model.vision import VisionFeatures, padded_to_square

PROJECTED, TEXT_WIDTH = 12, 16


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A whole CLIP in one folder, as OpenAI's."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = build_tokenizer()
    sizes = {
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": PROJECTED,
    }
    config = CLIPConfig(
        text_config={**sizes, "hidden_size": TEXT_WIDTH, "vocab_size": len(tokenizer)},
        vision_config={**sizes, "hidden_size": 20, "image_size": 16, "patch_size": 4},
        projection_dim=PROJECTED,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    sides = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    CLIPImageProcessorPil(**sides).save_pretrained(folder)
    return f"clip:{folder}"


def test_features_are_clips_image_embeds_of_the_padded_picture(
    spec: str, tiny_vision: VisionFeatures
) -> None:
    folder = spec.partition(":")[2]
    samples = toy_samples(5)
    found = sample_features("image", load_encoder(spec), tiny_vision).of(samples)
    assert found.shape == (5, PROJECTED) and found.dtype == np.float32
    tower = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    for sample, row in zip(samples, found, strict=True):
        picture = padded_to_square(sample.picture(), processor.image_mean)
        with torch.no_grad():
            expected = tower(**processor([picture], return_tensors="pt")).image_embeds[0]
        np.testing.assert_allclose(row, expected.numpy(), atol=1e-5)


def test_features_do_not_depend_on_their_neighbours(spec: str) -> None:
    encoder = load_picture_encoder(spec)
    assert encoder is not None and load_picture_encoder(spec) is encoder
    pictures = [toy_picture(number) for number in range(19)]
    together = encoder.encode(pictures)
    alone = np.concatenate([encoder.encode([picture]) for picture in pictures])
    assert together.tobytes() == alone.tobytes()
    assert encoder.encode([]).shape == (0, PROJECTED)


def test_both_halves_are_clips(spec: str, tiny_vision: VisionFeatures) -> None:
    both = sample_features("text+image", load_encoder(spec), tiny_vision).of(toy_samples(3))
    assert both.shape == (3, TEXT_WIDTH + PROJECTED)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), np.sqrt(2), rtol=1e-5)


def test_other_encoders_have_no_vision_tower() -> None:
    assert load_picture_encoder("hashed-ngrams") is None


def test_a_checkpoint_of_text_alone_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"vision tower of .*cannot be loaded.*identity\.token"):
        load_picture_encoder(f"clip:{tmp_path}")
