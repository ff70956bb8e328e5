"""Forward and zero-shot transfer on matrices worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcit_app.evaluate.transfer import forward_transfer, zero_shot_transfer

FULL = [[80.0, 20.0, 5.0], [70.0, 90.0, 15.0], [60.0, 85.0, 95.0]]
BASE = [10.0, 30.0, 0.0]


def test_forward_transfer_is_what_the_stages_before_gave() -> None:
    assert forward_transfer(FULL, BASE, [1, 2, 3]) == pytest.approx(((20 - 30) + (15 - 0)) / 2)
    assert forward_transfer(FULL[:2], BASE, [1, 2]) == pytest.approx(20 - 30)
    assert forward_transfer(FULL[:1], BASE, [1]) is None


def test_stages_of_several_tasks_or_none_anew() -> None:
    assert forward_transfer(FULL, BASE, [1, 3, 3]) == pytest.approx(((20 - 30) + (5 - 0)) / 2)
    assert forward_transfer(FULL, BASE, [3, 3, 3]) is None


def test_zero_shot_transfer_is_over_what_was_not_learned() -> None:
    assert zero_shot_transfer(FULL[0], BASE, 1) == (12.5, pytest.approx((-10 + 5) / 2))
    assert zero_shot_transfer(FULL[2], BASE, 3) == (None, None)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=8))
def test_a_model_that_is_still_the_base_transfers_nothing(scores: list[float]) -> None:
    count = len(scores)
    assert forward_transfer([scores] * count, scores, range(1, count + 1)) == 0
    assert zero_shot_transfer(scores, scores, 1)[1] == 0
