"""Scores on hand-made cases, among them those that the official scripts get wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcit_app.errors import DataError
from fcit_app.evaluate.metrics import (
    intersection_over_union,
    parse_box,
    parse_cut_box,
    score,
)
from fcit_app.evaluate.scoring import rule_of


@pytest.mark.parametrize(
    ("prediction", "reference", "right"),
    [
        ("red", "red", True),
        (" Red \n", "red", True),
        ("STRASSE", "straße", True),
        ("two words", "Two Words", True),
        ("two  words", "two words", False),
        ("", "red", False),
        ("", "", False),
        (" ", "", False),
        ("n", "none", False),
        ("none", "n", False),
        ("red.", "red", False),
        ("1", "1.0", False),
    ],
)
def test_exact(prediction: str, reference: str, right: bool) -> None:
    assert score("exact", prediction, reference) is right


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("[0.41, 0.2, 0.6, 0.8]", (0.41, 0.2, 0.6, 0.8)),
        ("[1.0, 2.0, 3.0, 4.5]", (1, 2, 3, 4.5)),
        ("[0, 0, 1, 1]", (0, 0, 1, 1)),
        ("[0,0,1,1]", (0, 0, 1, 1)),
        ("[ 0.1 0.2  0.3   0.4 ]", (0.1, 0.2, 0.3, 0.4)),
        ("0.1 , 0.2 , .3 , 4.", (0.1, 0.2, 0.3, 4)),
        (" 1 2 30 40\n", (1, 2, 30, 40)),
        ("The cat is at [0.1, 0.2, 0.3, 0.4].", (0.1, 0.2, 0.3, 0.4)),
        ("[-0.1, 0.2, 0.3, 0.4]", (-0.1, 0.2, 0.3, 0.4)),
        ("", None),
        ("[]", None),
        ("cat", None),
        ("[0.1, 0.2, 0.3]", None),
        ("[0.1, 0.2, 0.3, 0.4, 0.5]", None),
        ("[0.1, 0.2, 0.3, x]", None),
        ("[0.1, 0.2, 0.3, 0.4", None),
        ("[0.1, 0.2, nan, inf]", None),
        ("[0.3, 0.2, 0.1, 0.4]", None),
        ("[0.1, 0.2, 0.1, 0.4]", None),
        ("0.10.20.30.4", None),
        (f"[0, 0, 1, {'9' * 400}]", None),
    ],
)
def test_boxes_are_read(text: str, box: tuple[float, ...] | None) -> None:
    assert parse_box(text) == box


@pytest.mark.parametrize(
    ("prediction", "right"),
    [
        ("[0.41, 0.2, 0.6, 0.8]", True),
        ("[0.41, 0.2, 0.6, 0.49]", False),
        ("[0.41, 0.2, 0.6, 0.52]", True),
        ("[0.0, 0.0, 0.1, 0.1]", False),
        ("no idea", False),
        ("", False),
    ],
)
def test_box(prediction: str, right: bool) -> None:
    assert score("box", prediction, "[0.41, 0.2, 0.6, 0.8]") is right


def test_exactly_half_is_not_enough() -> None:
    assert not score("box", "[0, 0, 1, 1]", "[0, 0, 1, 2]")
    assert score("box", "[0, 0, 1, 1.01]", "[0, 0, 1, 2]")


@pytest.mark.parametrize("prediction", ["", " ", "n", "ON", "none"])
def test_the_released_scripts_take_a_substring_of_the_reference(prediction: str) -> None:
    for task in ("dvqa", "figureqa"):
        assert score(rule_of(task, "official"), prediction, "None")
        assert score(rule_of(task), prediction, "None") is (prediction == "none")
    for task in ("iconqa", "flickr30k"):
        assert score(rule_of(task, "official"), prediction, "None") is (prediction == "none")
    assert not score("substring", "none of them", "none")


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("[0.41, 0.2, 0.6, 0.8]", (0.41, 0.2, 0.6, 0.0)),
        ("[1.0, 0.2, 0.6, 0.85]", (0.0, 0.2, 0.6, 0.8)),
        ("[0.1, 0.2, 0.6, 1]", None),
        ("[0.1, 0.2, 0.3]", None),
        ("no box", None),
        ("", None),
    ],
)
def test_boxes_as_the_released_parser_reads_them(text: str, box: tuple[float, ...] | None) -> None:
    assert parse_cut_box(text) == box


def test_a_right_box_is_wrong_for_the_released_parser() -> None:
    said = "[0.41, 0.2, 0.6, 0.8]"
    assert score(rule_of("grounding"), said, said)
    assert not score(rule_of("grounding", "official"), said, said)
    longer = "[0.41, 0.2, 0.6, 0.85]"
    assert score(rule_of("grounding", "official"), longer, longer)


corners = st.tuples(*[st.integers(0, 50)] * 2, *[st.integers(51, 100)] * 2)


@given(first=corners, second=corners)
def test_overlap_is_a_similarity(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    overlap = intersection_over_union(first, second)  # type: ignore[arg-type]
    assert 0 <= overlap <= 1
    assert overlap == intersection_over_union(second, first)  # type: ignore[arg-type]
    assert (overlap == 1) == (first == second)


def test_mistakes_in_the_data_are_told() -> None:
    with pytest.raises(DataError, match="'here' is no box"):
        score("box", "[0, 0, 1, 1]", "here")
    with pytest.raises(DataError, match="no metric 'bleu'"):
        score("bleu", "a", "a")  # type: ignore[arg-type]
