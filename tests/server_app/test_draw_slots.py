"""Participants are a function of seed, stage and round."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from server_app.sampling import draw_slots

SETS = st.sets(st.integers(0, 10**6), min_size=1, max_size=30)


@given(SETS, st.data(), st.integers(0, 2**32 - 1), st.integers(1, 50), st.integers(1, 50))
def test_a_draw_is_without_repeats_and_independent_of_order(clients, data, seed, stage, number):
    count = data.draw(st.integers(1, len(clients)))
    drawn = draw_slots(clients, count, seed, stage, number)
    assert isinstance(drawn, tuple) and len(drawn) == count
    assert len(set(drawn)) == count
    assert set(drawn) <= clients
    shuffled = data.draw(st.permutations(sorted(clients)))
    random.seed(data.draw(st.integers(0, 9)))
    assert draw_slots(shuffled, count, seed, stage, number) == drawn


def test_every_client_is_drawn_sooner_or_later_and_about_equally_often():
    counts = dict.fromkeys(range(5), 0)
    for number in range(1, 401):
        for client in draw_slots(range(5), 2, 0, 1, number):
            counts[client] += 1
    assert all(120 < count < 200 for count in counts.values())


def test_seed_stage_and_round_all_matter():
    def rounds(seed, stage):
        return [draw_slots(range(20), 5, seed, stage, number) for number in range(1, 6)]

    assert len({tuple(rounds(seed, stage)) for seed in (0, 1) for stage in (1, 2)}) == 4
    assert len(set(rounds(0, 1))) == 5
