"""Fewer dimensions keep cosines, and what is compared is compared in the same ones everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from app_runs import run_config, serve

from fcit_app.config import parse
from fcit_app.data.sample import Sample
from fcit_app.evaluate.route import route
from fcit_app.evaluate.saved_run import open_saved_run
from fcit_app.export.load_bank import Router
from fcit_app.export.router import write_router
from fcit_app.export.text_encoder import text_encoder
from fcit_app.identity.encoders import load_encoder
from fcit_app.identity.privacy import clipped, deviation, noised
from fcit_app.identity.reduction import directions, reduced
from fcit_app.identity.tokens import IdentityToken, cosine, cosine_matrix
from fcit_app.model.activation import activation_weights
from fcit_app.model.features import QuestionFeatures, sample_features
from fcit_app.model.routes import route_tokens

QUESTIONS = (
    "How many red triangles are there?",
    "What is shown in the picture?",
    "Which letter stands before the green circle?",
)


def test_cosines_and_lengths_are_kept_in_the_measure_of_the_dimension():
    features = np.random.default_rng(0).normal(size=(40, 1024)).astype(np.float32)
    features[20:] += 2 * features[:20]
    before = cosine_matrix(features, features)
    for dimension in (16, 64, 1024):
        found = reduced(features, dimension)
        assert found.shape == (40, dimension)
        error = cosine_matrix(found, found) - before
        assert np.sqrt(np.mean(error**2)) < 1.1 / np.sqrt(dimension)
        lengths = np.linalg.norm(found, axis=1) / np.linalg.norm(features, axis=1)
        assert lengths.mean() == pytest.approx(1.0, abs=3 / np.sqrt(20 * dimension))


def test_a_row_is_the_same_whatever_is_beside_it():
    features = np.random.default_rng(1).normal(size=(7, 300)).astype(np.float32)
    whole = reduced(features, 33)
    for row in range(7):
        assert reduced(features[row : row + 1], 33).tobytes() == whole[row].tobytes()


def test_directions_are_the_same_in_every_process():
    # NumPy's legacy stream, which is frozen: banks made today fit questions asked later.
    found = directions(5, 2)
    assert found[0, :3] == pytest.approx([1.24737338, 0.28295388, 0.69207227])
    assert found.flags.writeable is False


def test_noise_of_the_same_epsilon_hides_less_of_the_direction():
    features = np.abs(np.random.default_rng(2).normal(size=(100, 1024))).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    kept = []
    for matrix in (features, reduced(features, 64)):
        token = IdentityToken.of(clipped(matrix, 1.0))
        other = noised(token, deviation(1.0, 1.0), np.random.default_rng(3))
        kept.append(cosine(token.total, other.total))
    # 1 / sqrt(1 + (2 sqrt(d) / 100)^2), of a sum of length about 80 and more
    assert kept[0] == pytest.approx(0.80, abs=0.05)
    assert kept[1] > 0.97


def samples():
    return [Sample(f"{n}", "figureqa", text, "", lambda: None) for n, text in enumerate(QUESTIONS)]


def test_none_are_left_out_by_default():
    encoder = load_encoder("hashed-ngrams")
    assert parse({}).identity.dimension == 0
    plain, whole = sample_features("text", encoder, None), QuestionFeatures(encoder)
    assert plain.of(samples()).tobytes() == whole.of(samples()).tobytes()
    less = sample_features("text", encoder, None, 48)
    assert less.of(samples()).tobytes() == reduced(plain.of(samples()), 48).tobytes()
    assert [less.key(sample) for sample in samples()] == list(QUESTIONS)


def test_clients_server_route_and_export_compare_in_the_same_dimensions(tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", identity__dimension=48)
    run = open_saved_run(serve(config).path)
    tokens = route_tokens(run.bank)
    assert tokens.shape == (2, 48)
    features = sample_features("text", load_encoder("hashed-ngrams"), None, 48).of(samples())
    expected = activation_weights(torch.tensor(features), tokens)
    found = [route(run, text).weights for text in QUESTIONS]
    assert [list(weights.values()) for weights in found] == expected.tolist()
    write_router(tmp_path, run.bank, run.config)
    router = Router(tmp_path, text_encoder(tmp_path))
    assert torch.allclose(router.weights(QUESTIONS), expected, atol=1e-6)
