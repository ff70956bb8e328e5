"""One question, about a picture or about none, put to a saved bank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from fcit_app.config import RunConfig
from fcit_app.data.catalogue import TASK_NAMES
from fcit_app.data.catalogue import task as find_task
from fcit_app.data.folder.datasets import GENERATION_LENGTH
from fcit_app.data.load import load_benchmark
from fcit_app.data.sample import Sample
from fcit_app.errors import DataError
from fcit_app.evaluate.answer import answer
from fcit_app.evaluate.evaluator import Evaluator
from fcit_app.evaluate.saved_run import SavedRun

_PLACEHOLDER = "<image>"


@dataclass(frozen=True)
class Reply:
    """What a bank made of one question.

    Parameters
    ----------
    answer : str
        Of the whole bank.
    weights : Mapping[int, float] or None
        Identifier of a subspace to how loudly it spoke, in the bank's order; None where nothing is
        routed.
    alone : Mapping[int, str]
        What each subspace alone would have answered; empty unless asked for.
    """

    answer: str
    weights: Mapping[int, float] | None
    alone: Mapping[int, str]


def open_picture(path: Path) -> Image.Image:
    """Open a user's picture as RGB.

    Raises
    ------
    DataError
        If it is missing or no picture.
    """
    if not path.is_file():
        raise DataError(f"There is no picture {path}. Give the path of a file, such as a PNG.")
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow raises anything on a mangled file
        raise DataError(
            f"The picture {path} cannot be read: {error}. Give a file that Pillow can read, such "
            "as a PNG or JPEG."
        ) from error


def ask(run: SavedRun, picture: Path | None, question: str, each: bool = False) -> Reply:
    """Answer one question.

    Parameters
    ----------
    run : SavedRun
        Bank and settings.
    picture : Path or None
        The file; None: the question is text alone.
    question : str
        As the model is to see it, with what it says about the form of the answer.
    each : bool
        Whether every subspace is asked alone as well.

    Raises
    ------
    DataError
        If the picture is unreadable, or the question is empty, holds ``<image>`` or is too long; if
        the base or the bank's identity tokens need a picture and there is none, or the base takes
        none and there is one.
    """
    sample = _sample(run.config, picture, question)
    evaluator = Evaluator(run.config, load_benchmark(run.config))
    with evaluator.session(run.bank) as session:
        weights = evaluator.weights(session, [sample])
        (said,) = answer(session, [sample], evaluator.vision, weights)
        identifiers = [subspace.identifier for subspace in run.bank.subspaces]
        alone: list[str] = []
        if each and len(identifiers) > 1:
            one_each = torch.eye(len(identifiers))
            alone = answer(session, [sample] * len(identifiers), evaluator.vision, one_each)
        elif each:
            alone = [said]
    heard = dict(zip(identifiers, weights[0].tolist(), strict=True)) if run.routed else None
    return Reply(said, heard, dict(zip(identifiers, alone, strict=False)))


def _sample(config: RunConfig, path: Path | None, question: str) -> Sample:
    image = None if path is None else open_picture(path)
    if not question.strip():
        raise DataError("The question is empty. Write it as you would ask a person.")
    if _PLACEHOLDER in question:
        raise DataError(
            f"The question holds {_PLACEHOLDER}; a picture (--image) takes its place before the "
            f"question by itself. Leave {_PLACEHOLDER} out."
        )
    longest = max(find_task(name).max_new_tokens for name in TASK_NAMES)
    limit = GENERATION_LENGTH if config.data.root else longest
    if path is None or image is None:
        return Sample("question", "question", question, "", None, limit)
    return Sample(path.name, "question", question, "", lambda: image, limit)
