"""(ε, δ) of the Gaussian mechanism: published values, and what must hold of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcit_app.identity.accountant import delta_of, epsilon_of

# σ, Δ, ε, δ as in the tests of Google's dp-accounting 0.0.2 (privacy_loss_mechanism_test.py).
GOOGLE = [
    (1, 1, 1, 0.12693674),
    (2, 2, 1, 0.12693674),
    (1, 3, 1, 0.78760074),
    (1, 1, 2, 0.02092364),
]


@pytest.mark.parametrize(("sigma", "sensitivity", "epsilon", "delta"), GOOGLE)
def test_published_values(sigma, sensitivity, epsilon, delta):
    assert delta_of(epsilon, sigma / sensitivity) == pytest.approx(delta, abs=5e-9)
    assert epsilon_of(delta, sigma / sensitivity) == pytest.approx(epsilon, abs=1e-6)


def test_a_published_value_of_a_composition():
    # accountant_test.py there: σ = 10 on Δ = 6 is (1, 0.78760074)-private after 25 queries.
    assert delta_of(1.0, 10 / 6, 25) == pytest.approx(0.78760074, abs=5e-9)


def test_enough_noise_needs_no_epsilon_and_nothing_given_costs_nothing():
    assert epsilon_of(0.5, 10.0) == 0.0
    assert epsilon_of(1e-5, 0.1, 0) == delta_of(0.0, 0.1, 0) == 0.0


NOISES = st.floats(0.003, 300.0)
DELTAS = st.floats(1e-12, 0.3)


@given(DELTAS, NOISES, st.integers(1, 200))
def test_epsilon_is_where_delta_is_reached(delta, noise, releases):
    epsilon = epsilon_of(delta, noise, releases)
    if epsilon > 0:
        assert delta_of(epsilon, noise, releases) == pytest.approx(delta, rel=1e-4)
    else:
        assert delta_of(0.0, noise, releases) <= delta


@given(DELTAS, NOISES, st.integers(1, 200))
def test_releases_cost_what_one_with_less_noise_costs(delta, noise, releases):
    alone = epsilon_of(delta, noise / math.sqrt(releases))
    together = epsilon_of(delta, noise, releases)
    assert together == pytest.approx(alone, rel=1e-9)
    assert together >= epsilon_of(delta, noise)


@given(st.floats(0.05, 0.99), st.floats(1e-9, 1e-3))
def test_the_classical_formula_wastes_noise_below_epsilon_one(epsilon, delta):
    noise = math.sqrt(2 * math.log(1.25 / delta)) / epsilon
    assert epsilon_of(delta, noise) < epsilon


def test_the_classical_formula_promises_too_much_at_large_epsilons():
    # Flower's LocalDpMod uses it for any epsilon (docs/privacy.md).
    noise = math.sqrt(2 * math.log(1.25 / 1e-5)) / 50.0
    assert epsilon_of(1e-5, noise) > 70.0
