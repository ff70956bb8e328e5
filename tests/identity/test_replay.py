"""Matching replayed with other thresholds, and the exact intervals of tau."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fcit_app.identity.replay import ReplayRound, recommended, replay, sweep
from fcit_app.identity.tokens import IdentityToken
from fcit_app.runs.token_book import TokenBook


def rounds_of(seed: int, late: bool = False) -> list[ReplayRound]:
    """Three stages of two rounds with three clients, whose tokens are near their stage's centre."""
    draw = np.random.default_rng(seed)
    found = []
    for stage in (1, 2, 3):
        centre = np.eye(8)[stage] + 0.2 * draw.random(8)
        tokens = {
            f"client-{c}": IdentityToken.of([centre + 0.1 * draw.normal(size=8)]) for c in range(3)
        }
        for number in range(2):
            delivered = frozenset(list(tokens)[number:] if late else tokens)
            found.append(ReplayRound(stage, tokens, delivered))
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("late", [False, True])
def test_intervals_cover_all_thresholds_and_hold_what_they_say(seed, late):
    rounds = rounds_of(seed, late)
    intervals = sweep(rounds)
    assert (intervals[0].high, intervals[-1].low) == (1.0, 0.0)
    for upper, lower in pairwise(intervals):
        assert upper.low == lower.high
        assert upper.outcome.partition != lower.outcome.partition
    for tau in np.linspace(0.01, 1.0, 60):
        (entry,) = [entry for entry in intervals if entry.low < tau <= entry.high]
        assert replay(rounds, float(tau)).partition == entry.outcome.partition


def test_the_widest_gap_separates_the_stages():
    rounds = rounds_of(0)
    best = recommended(sweep(rounds))
    assert best is not None
    stages = {frozenset(stage for stage, _ in group) for group in best.outcome.partition}
    assert stages == {frozenset({1}), frozenset({2}), frozenset({3})}


def test_a_round_that_is_done_again_replaces_itself_and_later_ones(tmp_path):
    book, token = TokenBook(tmp_path), (np.ones(4, dtype=np.float32), 5)
    for number in (1, 2, 3):
        book.keep((1, number, 0), {2: token, 11: token}, {11: ["iconqa"]})
    book.keep((1, 2, 0), {2: token}, {})
    rounds, totals = book.read()
    assert [entry.round for entry in rounds] == [1, 2]
    assert [len(entry.counts) for entry in rounds] == [2, 1]
    assert [name.split("-")[1] for name in rounds[0].delivered] == ["000011"]
    assert all(array.tolist() == [1.0] * 4 for array in totals.values())
