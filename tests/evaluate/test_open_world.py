"""Questions of none of the tasks wake no subspace; the limit is found without such questions."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_runs import make_saved_run
from typer.testing import CliRunner

from fcit_app import cli
from fcit_app.errors import ConfigError
from fcit_app.evaluate.activation_summary import summarise_weights
from fcit_app.evaluate.evaluation import evaluate_saved
from fcit_app.evaluate.open_world import Similarities, calibrate, told_apart
from fcit_app.evaluate.route import route
from fcit_app.evaluate.saved_run import open_saved_run
from fcit_app.model.activation import activation_weights

MODES = ("softmax", "argmax", "cosine", "concat")


def drawn(seed: int, rows: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, 5)))


@pytest.mark.parametrize("mode", MODES)
@given(seed=st.integers(0, 10_000), limit=st.floats(0.0, 0.99))
@settings(max_examples=25, deadline=None)
def test_who_is_near_enough_is_weighed_as_ever_and_the_others_wake_none(mode, seed, limit):
    features, tokens = drawn(seed, 6), drawn(seed + 1, 3)
    plain = activation_weights(features, tokens, mode)
    found = activation_weights(features, tokens, mode, open_world=limit)
    near = activation_weights(features, tokens, "cosine").amax(dim=1) >= np.float32(limit)
    for row, weights in enumerate(found):
        expected = plain[row] if near[row] or not limit else torch.zeros(3)
        assert torch.equal(weights, expected) or abs(limit - plain[row].max()) < 1e-6


def test_who_wakes_none_has_no_strongest_subspace():
    found = summarise_weights(torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    assert (found.strongest, found.entropy) == ((0.0, 0.5), 0.0)


def test_calibration_between_two_heaps_and_where_they_overlap():
    own, foreign = {"a": np.array([0.9, 0.8])}, {"a": np.array([0.2, 0.5])}
    found = calibrate(own, foreign)
    assert (found.low, found.high, found.kept, found.refused) == (0.5, 0.8, 1.0, 1.0)
    assert found.limit == pytest.approx(0.65)
    # One of four own questions is lost rather than two of four foreign ones woken.
    own = {"a": np.array([0.4, 0.7, 0.8, 0.9])}
    foreign = {"a": np.array([0.1, 0.2, 0.5, 0.6])}
    found = calibrate(own, foreign)
    assert (found.low, found.high, found.kept, found.refused) == (0.6, 0.7, 0.75, 1.0)
    assert told_apart(own, foreign) == pytest.approx(14 / 16)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_no_limit_is_better_than_the_calibrated_one(seed):
    draw = np.random.default_rng(seed)
    own = {name: np.round(draw.beta(5, 2, 7), 2) for name in "ab"}
    foreign = {name: np.round(draw.beta(2, 4, 9), 2) for name in "ab"}
    found = calibrate(own, foreign)

    def good(limit):
        kept = np.mean([(values >= limit).mean() for values in own.values()])
        return kept - np.mean([(values >= limit).mean() for values in foreign.values()])

    assert found.low < found.limit < found.high
    assert good(found.limit) == pytest.approx(max(good(x) for x in np.linspace(0, 1.01, 300)))
    assert found.kept + found.refused - 1.0 == pytest.approx(good(found.limit))


def test_a_single_subspace_has_no_strangers_to_calibrate_with():
    found = calibrate({"a": np.array([0.7, 0.9])}, {})
    assert (found.limit, found.kept, found.refused) == (0.7, 1.0, None)


def test_the_command_and_the_settings(saved_disco, tmp_path):
    command = ["open-world", str(saved_disco.path), "--json", "--unseen", "grounding"]
    shown = CliRunner().invoke(cli.app, command)
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.stdout)
    assert facts["unseen"] == ["grounding"]
    assert facts["range"][0] < facts["limit"] < facts["range"][1]
    assert facts["woken"]["figureqa"] > facts["woken"]["grounding"] == 0.0
    # With a limit that no question reaches, the bank is never asked: the base's own accuracies.
    never = open_saved_run(saved_disco.path, {"identity.open-world": 0.9999999})
    (scores,) = evaluate_saved(never, never.tasks, "test", ("softmax",), tmp_path / "out")
    woken = route(never, "What is the meaning of life?")
    assert set(woken.weights.values()) == {0.0}
    assert max(woken.cosines.values()) > 0
    base = saved_disco.read_result().zero_shot
    asleep = [
        score.accuracy == zero
        for score, zero in zip(scores.scores, base, strict=True)
        if sum(score.activation.weights) == 0
    ]
    assert asleep and all(asleep)


def test_a_run_without_tokens(tiny_folder, tmp_path):
    run = open_saved_run(make_saved_run(tiny_folder, tmp_path / "run", method="finetune").path)
    with pytest.raises(ConfigError, match="no identity tokens"):
        Similarities(run)
