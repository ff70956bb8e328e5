"""Every mini task: deterministic, in its real answer format, not answerable by a constant."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest

from fcit_app.data.catalogue import TASK_NAMES, task
from fcit_app.data.mini.benchmark import MiniBenchmark
from fcit_app.data.mini.tasks import LETTER_SUFFIX, WORD_SUFFIX
from fcit_app.evaluate.metrics import score

FORMATS = {
    "imagenet-r": r"[A-Z][a-z]+",
    "arxivqa": r"[ABCD]",
    "iconqa": r"[1-6]",
    "clevr-math": r"[0-4]",
    "ocr-vqa": r"[A-Z]{3}",
    "flickr30k": r"There is an? \w+ \w+ and an? \w+ \w+\.",
    "figureqa": r"Yes|No",
    "super-clevr": r"[A-Z][a-z]+",
    "aokvqa": r"[ABCD]",
    "grounding": r"\[0\.\d\d, 0\.\d\d, [01]\.\d\d, [01]\.\d\d\]",
    "dvqa": r"[A-Z][a-z]+",
    "tabmwp": r"\d",
}


@pytest.mark.parametrize("name", TASK_NAMES)
def test_answers_have_the_tasks_format_and_score_themselves(name: str) -> None:
    for sample in MiniBenchmark(0, 50, 1).training_samples(name):
        assert re.fullmatch(FORMATS[name], sample.answer)
        assert score(task(name).metric, sample.answer, sample.answer)
        assert "<image>" not in sample.question
        assert sample.picture().size == (48, 48)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_no_constant_answer_scores_well(name: str) -> None:
    answers = Counter(s.answer for s in MiniBenchmark(5, 1, 400).test_samples(name))
    ((_, most),) = answers.most_common(1)
    # Yes or no is the one task where half is right by chance.
    assert most / 400 < (0.6 if name == "figureqa" else 0.36)


def test_suffixes_are_shared_between_tasks_as_in_fcit() -> None:
    benchmark = MiniBenchmark(0, 2, 1)
    questions = {name: benchmark.training_samples(name)[0].question for name in TASK_NAMES}
    assert sum(question.endswith(WORD_SUFFIX) for question in questions.values()) == 8
    assert sum(question.endswith(LETTER_SUFFIX) for question in questions.values()) == 2


def test_another_seed_gives_other_samples_and_the_same_seed_the_same() -> None:
    first, again, other = (MiniBenchmark(s, 20, 1).training_samples("iconqa") for s in (0, 0, 1))
    assert [s.picture().tobytes() for s in first] == [s.picture().tobytes() for s in again]
    assert [s.picture().tobytes() for s in first] != [s.picture().tobytes() for s in other]
    # More samples begin with the same ones.
    more = MiniBenchmark(0, 30, 1).training_samples("iconqa")
    assert [s.answer for s in more[:20]] == [s.answer for s in first]


def test_samples_are_the_same_in_another_process() -> None:
    program = (
        "import zlib\n"
        "from fcit_app.data.mini.benchmark import MiniBenchmark\n"
        "s = MiniBenchmark(0, 5, 1).training_samples('super-clevr')\n"
        "print([(zlib.crc32(x.picture().tobytes()), x.question, x.answer) for x in s])"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_an_unknown_task_is_named_with_its_nearest() -> None:
    from fcit_app.errors import DataError

    with pytest.raises(DataError, match="Did you mean 'clevr-math'"):
        MiniBenchmark(0, 1, 1).training_samples("clever-math")
