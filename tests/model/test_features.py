"""What samples are recognised by: text, picture or both, and never the answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
from tiny_llava import toy_samples

from fcit_app.arrays import Array
from fcit_app.data.sample import Sample
from fcit_app.identity.encoders import HashedNgramEncoder
from fcit_app.identity.tokens import cosine
from fcit_app.model.features import RememberedFeatures, TokenSource, sample_features
from fcit_app.model.vision import VisionFeatures

ENCODER = HashedNgramEncoder(64)
SOURCES: tuple[TokenSource, ...] = get_args(TokenSource)


def test_text_is_the_encoders_feature_of_the_question(tiny_vision: VisionFeatures) -> None:
    samples = toy_samples(6)
    expected = ENCODER.encode([sample.question for sample in samples])
    assert sample_features("text", ENCODER, tiny_vision).of(samples).tobytes() == expected.tobytes()


def test_image_is_the_mean_over_the_patches(tiny_vision: VisionFeatures) -> None:
    samples = toy_samples(70)
    found = sample_features("image", ENCODER, tiny_vision).of(samples)
    assert found.dtype == np.float32 and found.shape == (70, 32)
    for row, sample in zip(found, samples, strict=True):
        np.testing.assert_allclose(row, tiny_vision.of([sample])[0].mean(dim=0), rtol=1e-6)


def test_the_cosine_of_both_is_the_mean_of_both_cosines(tiny_vision: VisionFeatures) -> None:
    samples = toy_samples(5)
    text, image, both = (sample_features(s, ENCODER, tiny_vision).of(samples) for s in SOURCES)
    for i in range(5):
        for j in range(5):
            expected = (cosine(text[i], text[j]) + cosine(image[i], image[j])) / 2
            assert cosine(both[i], both[j]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("source", SOURCES)
def test_answers_play_no_part_and_equal_keys_are_equal_features(
    source: TokenSource, tiny_vision: VisionFeatures
) -> None:
    features = sample_features(source, ENCODER, tiny_vision)
    samples = toy_samples(9)
    others = [dataclasses.replace(s, answer="?", task="dvqa") for s in samples]
    assert features.of(samples).tobytes() == features.of(others).tobytes()
    rows: dict[str, bytes] = {}
    for sample, row in zip(samples, features.of(samples), strict=True):
        assert rows.setdefault(features.key(sample), row.tobytes()) == row.tobytes()
    assert len(rows) == (4 if source == "text" else 9)


class Counting:
    """Features that count how often they are computed."""

    def __init__(self) -> None:
        self.computed: list[list[str]] = []

    def of(self, samples: Sequence[Sample]) -> Array:
        self.computed.append([sample.question for sample in samples])
        return ENCODER.encode([sample.question for sample in samples])

    def key(self, sample: Sample) -> str:
        return sample.question


def test_the_same_samples_in_the_same_order_are_computed_once() -> None:
    counting, samples = Counting(), toy_samples(9)
    remembered = RememberedFeatures(counting)
    first = remembered.of(samples)
    first[:] = 0.0  # the caller's own
    others = [dataclasses.replace(sample, answer="?") for sample in samples]
    assert remembered.of(others).tobytes() == counting.of(samples).tobytes()
    assert len(counting.computed) == 2
    assert remembered.of(samples[::-1]).tobytes() == counting.of(samples[::-1]).tobytes()
    assert remembered.of(samples[:4]).shape == (4, 64)
    assert len(counting.computed) == 5


def test_what_was_used_longest_ago_makes_way() -> None:
    counting, (a, b, c) = Counting(), (toy_samples(size) for size in (2, 3, 4))
    remembered = RememberedFeatures(counting, most=4 * 64 * 5)
    for samples in (a, b, a, c, a, b):  # c does not go with b, and not with both
        remembered.of(samples)
    assert [len(row) for row in counting.computed] == [2, 3, 4, 2, 3]
    RememberedFeatures(counting, most=1).of(a)
    assert len(counting.computed) == 6
