"""One instruction with its picture and its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image


@dataclass(frozen=True)
class Sample:
    """One question about one picture.

    Parameters
    ----------
    identifier : str
        Unique and stable name of the *picture* with its question, for example
        ``"figureqa/train/17@0"``; caches use it as their key.
    task : str
        One of the twelve FCIT task names; of the base's own questions (``mini/skill_set.py``) the
        skill that they ask for.
    question : str
        The instruction with its answer-format suffix, without ``<image>`` and without the answer.
    answer : str
        What the model should say.
    picture : Callable[[], PIL.Image.Image]
        Gives the RGB picture when asked, so that a list of samples holds no pixels.
    answer_tokens : int or None
        Most tokens of a generated answer; None: what the task's entry in the catalogue says, which
        is meant for the mini benchmark.
    references : tuple[str, ...]
        Of a caption that is compared with all the captions of its picture: those. Empty where the
        answer alone is right.
    """

    identifier: str
    task: str
    question: str
    answer: str
    picture: Callable[[], Image.Image] = field(repr=False, compare=False)
    answer_tokens: int | None = None
    references: tuple[str, ...] = ()
