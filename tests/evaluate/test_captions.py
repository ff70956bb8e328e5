"""Caption scores are pycocoevalcap's own; without Java the result says what is left out."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from statistics import fmean

import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from tiny_llava import toy_samples

from fcit_app.data.sample import Sample
from fcit_app.errors import DataError
from fcit_app.evaluate import captions as scorers
from fcit_app.evaluate.caption_words import java_works, ptb_words, simple_words
from fcit_app.evaluate.captions import Caption, score_captions
from fcit_app.evaluate.statistics import final, judge, measure

CORPUS = (
    Caption("b", "A man rides a brown horse.", ("A man is riding a horse.", "A man on a horse.")),
    Caption("a", "two dogs play", ("Two dogs are playing in the snow!", "Dogs play; it's cold.")),
    Caption("c", "", ("A red bus.", "A bus (red) stands in a well-known street.")),
    Caption("d", "...", ("Children eat ice cream.", "Kids with ice cream")),
)
SIX = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr")
SEVEN = (*SIX[:4], "METEOR", *SIX[4:])
METEOR = 0.19277119995768427
"""What ``Meteor().compute_score`` says of the corpus in PTBTokenizer's words; it starts slowly."""
JAVA = shutil.which("java") is not None


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorers, "java_works", lambda: False)


def test_scores_are_the_librarys_on_the_same_words() -> None:
    """With Java its own tokeniser and METEOR as well: all seven, as the released script."""
    said = {entry.identifier: [entry.answer] for entry in CORPUS}
    references = {entry.identifier: list(entry.references) for entry in CORPUS}
    if JAVA:
        coco = [
            {key: [{"caption": text} for text in texts] for key, texts in side.items()}
            for side in (said, references)
        ]
        # Its class gives a last line that is empty no words at all.
        tokenised = [PTBTokenizer().tokenize(side) for side in coco]
        said, references = {key: tokenised[0].get(key, [""]) for key in said}, tokenised[1]
    else:
        said = {key: simple_words(texts) for key, texts in said.items()}
        references = {key: simple_words(texts) for key, texts in references.items()}
    bleu, _ = Bleu(4).compute_score(references, said, verbose=0)
    expected = dict(zip(SIX[:4], bleu, strict=True))
    if JAVA:
        expected["METEOR"] = METEOR
    expected["ROUGE-L"] = Rouge().compute_score(references, said)[0]
    expected["CIDEr"] = Cider().compute_score(references, said)[0]
    found = score_captions(CORPUS)
    assert tuple(found.parts) == (SEVEN if JAVA else SIX)
    assert dict(found.parts) == pytest.approx({k: 100 * v for k, v in expected.items()}, rel=1e-12)
    assert found.mean == pytest.approx(100 * fmean(expected.values()), rel=1e-12)
    assert found.metric.startswith("mean of 7: BLEU-1 to 4, METEOR" if JAVA else "mean of 6: ")
    assert ("PTBTokenizer" in found.metric) is JAVA


def test_without_java_it_is_said(no_java: None) -> None:
    found = score_captions(CORPUS)
    assert tuple(found.parts) == SIX
    assert found.mean == fmean(found.parts.values())
    assert found.metric == (
        "mean of 6: BLEU-1 to 4, ROUGE-L, CIDEr; simple words (no Java, so no METEOR)"
    )


def test_bleu_and_rouge_by_hand(no_java: None) -> None:
    """Said "a dog", four words wanted: precision 2/2, brevity penalty e^(1 - 4/2)."""
    found = score_captions([Caption("a", "a dog", ("a dog runs very fast", "cats sleep all day"))])
    # The nearest length counts: 4 words, of the second reference.
    assert found.parts["BLEU-1"] == pytest.approx(100 * math.exp(1 - 4 / 2))
    assert found.parts["BLEU-2"] == pytest.approx(100 * math.exp(1 - 4 / 2))
    # No trigram is said, and none is wrong: (0 + 1e-15) / (0 + 1e-9), to the power of a third.
    assert found.parts["BLEU-3"] == pytest.approx(1e-2 * 100 * math.exp(1 - 4 / 2))
    precision, recall, beta = 1, 2 / 5, 1.2
    rouge = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    assert found.parts["ROUGE-L"] == pytest.approx(100 * rouge)
    assert found.parts["CIDEr"] == 0  # of one picture every n-gram is in all pictures


def test_all_references_are_used(no_java: None) -> None:
    answer, truth = "a man rides", "a man rides"
    rest = [Caption("y", "a cat", ("a cat sleeps",)), Caption("z", "snow", ("snow falls",))]
    with_it = score_captions([Caption("x", answer, ("nothing alike here", truth)), *rest])
    without = score_captions([Caption("x", answer, ("nothing alike here",)), *rest])
    assert all(with_it.parts[name] > without.parts[name] for name in with_it.parts)


def test_order_and_shards_make_no_difference(no_java: None) -> None:
    whole = score_captions(CORPUS)
    assert score_captions(CORPUS[::-1]) == whole
    samples, said = captioned()
    parts = [measure(samples[i : i + 1], said[i : i + 1], "official") for i in (2, 0, 3, 1)]
    merged = parts[0] + parts[1] + parts[2] + parts[3]
    score = final(merged)
    assert score == final(measure(samples, said))
    assert (score.percent, score.metric, score.parts) == (whole.mean, whole.metric, whole.parts)
    # Part by part it would be another number: CIDEr needs the whole corpus.
    alone = fmean(final(part).parts["CIDEr"] for part in parts)
    assert alone != pytest.approx(whole.parts["CIDEr"])
    assert [judge(sample, text) for sample, text in zip(samples, said, strict=True)] == [None] * 4


def captioned() -> tuple[list[Sample], list[str]]:
    toys = toy_samples(len(CORPUS), "flickr30k")
    return (
        [
            replace(toy, identifier=entry.identifier, references=entry.references)
            for toy, entry in zip(toys, CORPUS, strict=True)
        ],
        [entry.answer for entry in CORPUS],
    )


@pytest.mark.parametrize("said", ["", "...", "\n", "\x1b[31m", "|||", "\ud83d", "\u2028\x85 a"])
def test_any_answer_can_be_scored(said: str, no_java: None) -> None:
    found = score_captions([Caption("x", said, ("a b c", "d ...")), *CORPUS])
    assert all(0 <= value < 1000 for value in found.parts.values())
    nothing = score_captions([Caption("x", "", ("a b c", "...")), Caption("y", "", ("e f",))])
    assert nothing.mean == 0


def test_the_tokeniser_keeps_lines_together() -> None:
    odd = [
        "",
        "...",
        "two\nlines\r\nor\u2028three",
        "\ud83d",
        "naïve “café”",
        "",
        "A dog's ball, eh?",
    ]
    words = ptb_words(odd) if JAVA else simple_words(odd)
    assert len(words) == len(odd) == 7
    assert words[:2] == ["", ""]
    assert words[2] == ("two lines or three")
    assert "naïve" in words[4] and "café" in words[4]
    assert words[5:] == ["", "a dog 's ball eh"]
    assert java_works() is JAVA


def test_simple_words() -> None:
    assert simple_words(["A Dog’s well-known ball: 3.5 (it isn't)!", "...", ""]) == [
        *("a dog 's well-known ball 3 5 it isn 't", "", "")
    ]


def test_a_score_stays_within_hundred(no_java: None) -> None:
    """CIDEr goes to 1000 where references are few and all are met."""
    texts = [f"{word} jumps over the {word} fence" for word in ("fox", "cat", "cow", "ant", "owl")]
    toys = toy_samples(5, "flickr30k")
    samples = [replace(toy, references=(text,)) for toy, text in zip(toys, texts, strict=True)]
    score = final(measure(samples, texts))
    assert score.parts["CIDEr"] > 500
    assert score.percent == 100


def test_mistakes_are_told(no_java: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="same sample"):
        score_captions([CORPUS[0], CORPUS[0]])
    with pytest.raises(DataError, match="No reference caption of a has a word"):
        score_captions([Caption("a", "a dog", ("...", "!"))])
    monkeypatch.setattr(scorers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'fcit-disco\[captions\]'"):
        score_captions(CORPUS)
