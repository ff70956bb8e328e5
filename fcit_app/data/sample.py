"""One instruction with its answer, and with its picture if it is about one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from PIL import Image

from fcit_app.errors import DataError

Picture = Callable[[], Image.Image]
"""Gives an RGB picture when asked."""


@runtime_checkable
class StoredPicture(Protocol):
    """A picture that lies in a file."""

    def __call__(self) -> Image.Image:
        """Open it."""

    def content(self) -> bytes:
        """Give the file's bytes."""


@dataclass(frozen=True)
class Sample:
    """One question, about one picture or about none.

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
    picture : Callable[[], PIL.Image.Image] or None
        Gives the RGB picture when asked, so that a list of samples holds no pixels; None: the
        question is text alone.
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
    picture: Picture | None = field(repr=False, compare=False)
    answer_tokens: int | None = None
    references: tuple[str, ...] = ()


def picture_of(sample: Sample, why: str = "the model looks at it") -> Image.Image:
    """Open a sample's picture.

    Parameters
    ----------
    sample : Sample
        One with a picture.
    why : str
        What the picture is wanted for, for an error's text.

    Raises
    ------
    DataError
        If the question is text alone, or the picture cannot be read.
    """
    if sample.picture is None:
        raise DataError(
            f"The sample '{sample.identifier}' of {sample.task} has no picture, but {why}."
        )
    return sample.picture()


def picture_digest(sample: Sample) -> str:
    """SHA-256 of a sample's picture: of its file if it lies in one, else of size and pixels.

    Raises
    ------
    DataError
        See ``picture_of``.
    """
    if isinstance(sample.picture, StoredPicture):
        return hashlib.sha256(b"file" + sample.picture.content()).hexdigest()
    picture = picture_of(sample)
    facts = f"pixels {picture.mode} {picture.size}".encode()
    return hashlib.sha256(facts + picture.tobytes()).hexdigest()
