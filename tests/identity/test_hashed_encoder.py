import itertools

import numpy as np
import pytest

from fcit_app.errors import ConfigError
from fcit_app.identity.encoders import HashedNgramEncoder, load_encoder
from fcit_app.identity.tokens import IdentityToken, cosine

WORD = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
CAPTION = "\nGenerate a brief caption for the image."
BOX = "\nProvide the bounding box coordinates of the region."
COLOURS = ["red", "blue", "green", "yellow", "purple", "brown"]
SHAPES = ["cubes", "spheres", "cylinders", "cones", "rings"]
VEHICLES = ["bus", "car", "truck", "bicycle", "airplane"]
ANIMALS = ["dog", "cat", "horse", "sheep", "bird"]
QUESTIONS = {
    "imagenet-r": ["What is the object in the image?" + WORD],
    "arxivqa": [
        f"What does the {curve} curve in figure {panel} indicate?\nA) it rises\nB) it falls\n"
        f"C) it oscillates\nD) it stays constant{LETTER}"
        for curve in COLOURS
        for panel in "abcd"
    ],
    "iconqa": [
        f"How many {shape} are there on the {side}?\nA. {n}\nB. {n + 1}\nC. {n + 2}{LETTER}"
        for shape in ["stars", "hearts", "flowers", "shells"]
        for side in ["top", "bottom"]
        for n in (1, 3, 5)
    ],
    "clevr-math": [
        f"Subtract all {colour} {shape}. How many objects are left?{WORD}"
        for colour in COLOURS
        for shape in SHAPES
    ],
    "ocrvqa": [
        question + WORD
        for question in [
            "Who wrote this book?",
            "What is the title of this book?",
            "What is the genre of this book?",
            "Who is the author of this book?",
            "What type of book is this?",
        ]
    ],
    "flickr30k": ["What is happening in the image?" + CAPTION],
    "figureqa": [
        f"Is {a} {relation} {b}?{WORD}"
        for a, b in itertools.permutations(["Royal Blue", "Dark Orange", "Lime Green"], 2)
        for relation in ["the minimum compared with", "greater than", "less than"]
    ],
    "super-clevr": [
        f"There is a {colour} {vehicle}; what material is the thing behind it?{WORD}"
        for colour in COLOURS
        for vehicle in VEHICLES
    ],
    "aokvqa": [
        f"Why would the {animal} be wearing a {thing}?\nA. warmth\nB. racing\nC. fashion\n"
        f"D. safety{LETTER}"
        for animal in ANIMALS
        for thing in ["hat", "coat", "saddle"]
    ],
    "grounding": [
        f"Where is the {animal} next to the {vehicle}?{BOX}"
        for animal in ANIMALS
        for vehicle in VEHICLES
    ],
    "dvqa": [
        f"What is the value of the {bar} bar in the {group} group of the chart?{WORD}"
        for bar in ["largest", "smallest", "second"]
        for group in ["first", "last", "middle"]
    ],
    "tabmwp": [
        f"The table shows what {name} bought. How much money does {name} need to buy {n} {thing}?"
        + WORD
        for name in ["Anna", "Ben", "Carla"]
        for thing in ["apples", "pencils"]
        for n in (2, 5)
    ],
}


@pytest.fixture(scope="module")
def encoder():
    return HashedNgramEncoder()


def test_the_hashed_encoder_is_deterministic_and_normalised(encoder):
    texts = [text for task in QUESTIONS.values() for text in task]
    features = encoder.encode(texts)
    assert features.shape == (len(texts), encoder.dimension)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-6)
    assert (HashedNgramEncoder().encode(texts[::-1])[::-1] == features).all()


def test_known_features_do_not_drift(encoder):
    # Tokens of an old run must still match after an upgrade.
    (row,) = encoder.encode(["What is it?"])
    assert np.flatnonzero(row).tolist() == [59, 62, 329, 365, 1019]
    np.testing.assert_allclose(row[[59, 62, 329, 365, 1019]], 5**-0.5, atol=1e-6)


def test_texts_without_words_and_no_texts(encoder):
    assert encoder.encode([]).shape == (0, encoder.dimension)
    assert not encoder.encode(["? !", ""]).any()


def test_the_tasks_are_told_apart_and_halves_of_a_task_are_not(encoder):
    generator = np.random.default_rng(0)
    means = {
        task: IdentityToken.of(encoder.encode(texts)).mean for task, texts in QUESTIONS.items()
    }
    assert len(means) == 12
    assert max(cosine(means[a], means[b]) for a, b in itertools.combinations(means, 2)) < 0.9
    for texts in QUESTIONS.values():
        drawn = [texts[i] for i in generator.integers(len(texts), size=120)]
        halves = [IdentityToken.of(encoder.encode(half)) for half in (drawn[:60], drawn[60:])]
        assert cosine(halves[0].total, halves[1].total) > 0.95


def test_encoders_load_once_and_unknown_ones_are_named():
    assert load_encoder("hashed-ngrams") is load_encoder("hashed-ngrams")
    assert load_encoder("hashed-ngrams").name == "hashed-ngrams"
    for spec in ["hashed", "hashed-ngrams:x", "clip:", "clip", "sentence-transformers:", ""]:
        with pytest.raises(ConfigError, match="clip:<folder>"):
            load_encoder(spec)
