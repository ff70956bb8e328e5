import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcit_app.errors import ConfigError
from fcit_app.identity.matching import match
from fcit_app.identity.tokens import IdentityToken

TAU = 0.9


def token(angle: float, count: int = 10) -> IdentityToken:
    """Token of a direction in the plane; cos 25 degrees is just above tau, cos 26 just below."""
    radians = np.deg2rad(angle)
    return IdentityToken(count * np.array([np.cos(radians), np.sin(radians)]), count)


angles = st.floats(0, 360, allow_nan=False)
clients = st.dictionaries(st.integers(0, 50), angles, max_size=10)
banks = st.lists(angles, max_size=4)


@settings(max_examples=100, deadline=None)
@given(banks, clients)
def test_every_client_is_in_exactly_one_place(bank, found):
    matching = match([token(a) for a in bank], {c: token(a) for c, a in found.items()}, TAU)
    places = list(matching.joined) + [client for group in matching.opened for client in group]
    assert sorted(places) == sorted(found)
    assert set(matching.similarities) == set(found)
    for client, position in matching.joined.items():
        similarity = matching.similarities[client]
        assert similarity[position] == max(similarity) >= TAU
    for group in matching.opened:
        assert all(max(matching.similarities[c], default=-1) < TAU for c in group)


@settings(max_examples=100, deadline=None)
@given(banks, clients, st.data())
def test_the_order_of_clients_plays_no_part(bank, found, data):
    tokens = {client: token(angle) for client, angle in found.items()}
    shuffled = {client: tokens[client] for client in data.draw(st.permutations(list(tokens)))}
    bank_tokens = [token(angle) for angle in bank]
    assert match(bank_tokens, tokens, TAU) == match(bank_tokens, shuffled, TAU)


@settings(max_examples=100, deadline=None)
@given(banks, clients, st.data())
def test_renaming_clients_renames_the_result(bank, found, data):
    tokens = {client: token(angle) for client, angle in found.items()}
    bank_tokens = [token(angle) for angle in bank]
    renamed = dict(zip(tokens, data.draw(st.permutations(list(tokens))), strict=True))
    before = match(bank_tokens, tokens, TAU)
    after = match(bank_tokens, {renamed[c]: t for c, t in tokens.items()}, TAU)
    assert after.joined == {renamed[c]: position for c, position in before.joined.items()}
    assert {frozenset(group) for group in after.opened} == {
        frozenset(renamed[c] for c in group) for group in before.opened
    }


@settings(max_examples=60, deadline=None)
@given(clients)
def test_groups_are_the_components_of_similarity(found):
    groups = match([], {c: token(a) for c, a in found.items()}, TAU).opened
    assert list(groups) == sorted(groups)
    home = {client: group for group in groups for client in group}
    for a in found:
        for b in found:
            if np.cos(np.deg2rad(found[a] - found[b])) > TAU + 1e-9:
                assert home[a] == home[b]


def test_the_best_subspace_wins_and_the_first_on_a_tie():
    bank = [token(0), token(20), token(20)]
    matching = match(bank, {3: token(15), 4: token(2)}, TAU)
    assert matching.joined == {3: 1, 4: 0}
    assert matching.opened == ()


def test_nobody_to_match():
    assert match([token(0)], {}, TAU) == match([], {}, TAU)
    assert match([], {5: token(0)}, TAU).opened == ((5,),)


def test_a_zero_token_matches_nothing():
    zero = IdentityToken(np.zeros(2), 1)
    assert match([token(0), zero], {1: zero, 2: zero}, TAU).opened == ((1,), (2,))


@pytest.mark.parametrize("tau", [0.0, -1.0, 1.1, float("nan")])
def test_tau_is_a_positive_cosine(tau):
    with pytest.raises(ConfigError, match="tau"):
        match([], {}, tau)
