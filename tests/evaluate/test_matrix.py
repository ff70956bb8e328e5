"""Last, Avg, backward transfer and forgetting on matrices worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcit_app.errors import DataError
from fcit_app.evaluate.matrix import (
    average,
    backward_transfer,
    first_stage_of_task,
    forgetting,
    last,
)

ONE_A_STAGE = [[80.0], [60.0, 90.0], [70.0, 50.0, 100.0]]
SEVERAL_A_STAGE = [[80.0, 40.0], [70.0, 60.0, 20.0], [90.0, 10.0, 50.0, 30.0]]


def test_one_task_a_stage() -> None:
    assert last(ONE_A_STAGE) == pytest.approx(220 / 3)
    assert average(ONE_A_STAGE) == pytest.approx((80 + 75 + 220 / 3) / 3)
    assert backward_transfer(ONE_A_STAGE) == pytest.approx(((70 - 80) + (50 - 90)) / 2)
    assert forgetting(ONE_A_STAGE) == pytest.approx(((80 - 70) + (90 - 50)) / 2)


def test_several_tasks_a_stage() -> None:
    assert first_stage_of_task(SEVERAL_A_STAGE) == (0, 0, 1, 2)
    assert last(SEVERAL_A_STAGE) == 45
    assert average(SEVERAL_A_STAGE) == pytest.approx((60 + 50 + 45) / 3)
    assert backward_transfer(SEVERAL_A_STAGE) == pytest.approx((10 - 30 + 30) / 3)
    assert forgetting(SEVERAL_A_STAGE) == pytest.approx(((80 - 90) + (60 - 10) + (20 - 50)) / 3)


def test_a_stage_without_new_tasks() -> None:
    matrix = [[50.0, 30.0], [60.0, 20.0]]
    assert first_stage_of_task(matrix) == (0, 0)
    assert backward_transfer(matrix) == 0 and forgetting(matrix) == 0


def test_one_stage_says_nothing_about_the_past() -> None:
    assert (last([[30.0, 50.0]]), average([[30.0, 50.0]])) == (40, 40)
    assert backward_transfer([[30.0]]) is None and forgetting([[30.0]]) is None


@given(st.lists(st.floats(0, 100), min_size=2, max_size=8))
def test_a_model_that_never_changes_forgets_nothing(scores: list[float]) -> None:
    matrix = [scores[: stage + 1] for stage in range(len(scores))]
    assert backward_transfer(matrix) == 0 == forgetting(matrix)


@pytest.mark.parametrize(
    "matrix", [[], [[]], [[1.0, 2.0], [1.0]], [[1.0], [float("nan"), 1.0]], [[float("inf")]]]
)
def test_a_broken_matrix_is_refused(matrix: list[list[float]]) -> None:
    for summary in (last, average, backward_transfer, forgetting):
        with pytest.raises(DataError):
            summary(matrix)
