"""Captions against all references of their pictures: the mean of the COCO caption scores.

FCIT scores Flickr30k by the mean of seven scores of pycocoevalcap, times 100: BLEU-1 to 4, METEOR,
ROUGE-L and CIDEr (its ``eval_caption``, with SPICE taken out). The scorers are that library's; two
of its parts need Java, METEOR and the tokeniser. Without Java, METEOR is left out and another
tokenisation is used, and the metric's name says both: such numbers are no one else's.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from fcit_app.errors import DataError
from fcit_app.evaluate.caption_words import java_works, ptb_words, simple_words

Words = Mapping[str, list[str]]
"""A picture's identifier to its captions, each as words with one blank between them."""


@dataclass(frozen=True)
class Caption:
    """An answer that is a caption.

    Parameters
    ----------
    identifier : str
        Of the sample; captions are scored in this order.
    answer : str
        What the model said.
    references : tuple[str, ...]
        All the captions of the picture, at least one.
    """

    identifier: str
    answer: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class CaptionScores:
    """Scores of a corpus of captions.

    Parameters
    ----------
    metric : str
        Which scores the mean is taken of, and the tokeniser.
    parts : Mapping[str, float]
        Name to score times 100: at most 100, CIDEr at most 1000.
    """

    metric: str
    parts: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Mean of the parts."""
        return fmean(self.parts.values())


def score_captions(captions: Sequence[Caption]) -> CaptionScores:
    """Score a whole corpus of captions; never a part of one, since CIDEr depends on all.

    Parameters
    ----------
    captions : Sequence[Caption]
        In any order. An empty answer, and one without words, scores nothing.

    Raises
    ------
    DataError
        If pycocoevalcap is not installed, an identifier occurs twice, a picture has no reference
        with words, or Java fails.
    """
    require_scorers()
    ordered = sorted(captions, key=lambda caption: caption.identifier)
    if len({caption.identifier for caption in ordered}) < len(ordered):
        raise DataError("Some captions are of the same sample; score each sample once.")
    java = java_works()
    split = ptb_words if java else simple_words
    texts = [text for entry in ordered for text in (entry.answer, *entry.references)]
    words = iter(split(texts))
    said: dict[str, list[str]] = {}
    references: dict[str, list[str]] = {}
    for caption in ordered:
        said[caption.identifier] = [next(words)]
        # One without words, such as "...", would be met in full by an empty answer.
        references[caption.identifier] = [w for _ in caption.references if (w := next(words))]
        if not references[caption.identifier]:
            raise DataError(
                f"No reference caption of {caption.identifier} has a word. Mend the file of the "
                "captions, or take the picture out."
            )
    parts = {name: 100.0 * value for name, value in _scores(references, said, java).items()}
    return CaptionScores(caption_metric(), parts)


def caption_metric() -> str:
    """Say which scores the mean is taken of on this machine, and which tokeniser is used."""
    if java_works():
        return "mean of 7: BLEU-1 to 4, METEOR, ROUGE-L, CIDEr; PTBTokenizer"
    return "mean of 6: BLEU-1 to 4, ROUGE-L, CIDEr; simple words (no Java, so no METEOR)"


def require_scorers() -> None:
    """Check that captions can be scored.

    Raises
    ------
    DataError
        If pycocoevalcap is not installed.
    """
    if importlib.util.find_spec("pycocoevalcap") is None:
        raise DataError(
            "Captions (flickr30k of a data folder) are scored by the package pycocoevalcap, which "
            "is not installed. Install it: pip install 'fcit-disco[captions]'."
        )


def _scores(references: Words, said: Words, java: bool) -> dict[str, float]:
    """Each score of the corpus, in COCO's order."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge

    bleu, _ = Bleu(4).compute_score(references, said, verbose=0)
    found = {f"BLEU-{n}": float(value) for n, value in enumerate(bleu, start=1)}
    if java:
        try:
            found["METEOR"] = float(Meteor().compute_score(references, said)[0])
        except (OSError, ValueError) as error:  # its process has ended early
            raise DataError(
                f"METEOR, which runs in Java and takes up to 2 GB of memory, failed: {error}. Free "
                "some memory, or take Java off the PATH to do without it."
            ) from error
    found["ROUGE-L"] = float(Rouge().compute_score(references, said)[0])
    found["CIDEr"] = float(Cider().compute_score(references, said)[0])
    return found
