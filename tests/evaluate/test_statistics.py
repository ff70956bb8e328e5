"""Statistics add up: however answers are divided, the score is the same to the bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_llava import toy_samples

from fcit_app.data.catalogue import TASK_NAMES, task
from fcit_app.data.sample import Sample
from fcit_app.errors import DataError
from fcit_app.evaluate.metrics import score
from fcit_app.evaluate.scoring import SCORINGS, Scoring
from fcit_app.evaluate.statistics import caption_facts, final, judge, measure, metric_of

BOX = "[0.41, 0.2, 0.6, 0.8]"


def samples_of(name: str, answers: list[str]) -> list[Sample]:
    toys = toy_samples(len(answers), name)
    return [replace(toy, answer=said) for toy, said in zip(toys, answers, strict=True)]


@pytest.mark.parametrize(
    ("name", "paper", "official"),
    [
        ("imagenet-r", "exact", "exact"),
        ("arxivqa", "exact", "exact"),
        ("iconqa", "exact", "exact"),
        ("clevr-math", "exact", "exact"),
        ("ocr-vqa", "exact", "exact"),
        ("flickr30k", "exact", "exact"),  # of the mini benchmark; in a folder it has references
        ("figureqa", "exact", "substring"),
        ("super-clevr", "exact", "exact"),
        ("aokvqa", "exact", "exact"),
        ("grounding", "box", "cut-box"),
        ("dvqa", "exact", "substring"),
        ("tabmwp", "exact", "exact"),
    ],
)
def test_each_data_sets_metric(name: str, paper: str, official: str) -> None:
    (sample,) = toy_samples(1, name)
    assert (metric_of(sample, "paper"), metric_of(sample, "official")) == (paper, official)
    captioned = replace(sample, references=("a dog",))
    assert metric_of(captioned, "paper") == metric_of(captioned, "official") == "captions"


@pytest.mark.parametrize(
    ("name", "truths", "said", "paper", "official"),
    [
        # Released eval_iconqa: pred.upper() == answer.upper().
        ("iconqa", ["B", "yes", "3", "3"], ["b", "YES", "3.", ""], 50.0, 50.0),
        # Released eval_okvqa: pred.upper() in answer.upper().
        ("dvqa", ["none", "none", "none", "none"], ["n", "", "none", "none."], 25.0, 75.0),
        ("figureqa", ["Yes", "Yes", "No"], ["yes", "e", "yes"], 100 / 3, 200 / 3),
        # Released eval_grounding: first and last character go with the brackets, so y2 is 0.0.
        ("grounding", [BOX, BOX, BOX], [BOX, "[0.41, 0.2, 0.6, 0.85]", "box"], 200 / 3, 100 / 3),
        # x1 is .0 instead of 1.0; a trailing integer cannot be read.
        (
            "grounding",
            ["[1.0, 0.2, 1.9, 0.85]", "[0.0, 0.0, 1.0, 1]"],
            ["[1.0, 0.2, 1.9, 0.85]", "[0.0, 0.0, 1.0, 1]"],
            100.0,
            0.0,
        ),
    ],
)
def test_official_arithmetic_by_hand(
    name: str, truths: list[str], said: list[str], paper: float, official: float
) -> None:
    samples = samples_of(name, truths)
    assert final(measure(samples, said)).percent == paper
    assert final(measure(samples, said, "official")).percent == official
    judged = [judge(sample, text) for sample, text in zip(samples, said, strict=True)]
    for scoring, percent in (("paper", paper), ("official", official)):
        right = [verdict[scoring] for verdict in judged if verdict is not None]
        assert 100.0 * sum(right) / len(said) == percent


@given(said=st.text(st.characters(max_codepoint=127), min_size=1), truth=st.text("aBc 1."))
def test_exact_is_the_released_rule_for_stripped_answers(said: str, truth: str) -> None:
    """Answers are stripped before the released script sees them; ours are too."""
    same = said.strip().upper() == truth.strip().upper()
    assert score("exact", said, truth) is (same and bool(said.strip()))


@given(said=st.text(st.characters(exclude_categories=[])), name=st.sampled_from(TASK_NAMES))
def test_no_answer_is_an_error(said: str, name: str) -> None:
    truth = BOX if task(name).metric == "box" else "None"
    (sample,) = samples_of(name, [truth])
    for scoring in SCORINGS:
        assert final(measure([sample], [said], scoring)).percent in (0.0, 100.0)
    assert final(measure([sample], [""])).percent == 0.0


@given(cut=st.integers(1, 6), scoring=st.sampled_from(SCORINGS))
def test_parts_add_up(cut: int, scoring: Scoring) -> None:
    samples = samples_of("dvqa", ["red", "red", "none", "7", "7", "yes", "no"])
    said = ["red", "", "n", "7", "8", "YES", "o"]
    whole = measure(samples, said, scoring)
    first = measure(samples[:cut], said[:cut], scoring)
    assert first + measure(samples[cut:], said[cut:], scoring) == whole
    assert final(whole).percent == 100.0 * whole.right / 7
    assert final(whole).parts == {}


def test_what_cannot_be_scored_together() -> None:
    dvqa, box = toy_samples(1, "dvqa"), samples_of("grounding", [BOX])
    with pytest.raises(DataError, match=r"metrics \['box', 'exact'\] cannot be scored together"):
        measure([*dvqa, *box], ["", ""])
    with pytest.raises(DataError, match="0 samples"):
        measure([], [])
    with pytest.raises(DataError, match="'exact' and by 'substring' cannot be scored"):
        measure(dvqa, [""]) + measure(dvqa, [""], "official")


def test_a_run_remembers_how_captions_are_scored_and_nothing_else() -> None:
    told = {"dvqa": "substring", "grounding": "cut-box", "flickr30k": "mean of 6: …"}
    (fact,) = caption_facts(told).items()
    assert fact[0].startswith("flickr30k (") and fact[1] == "mean of 6: …"
