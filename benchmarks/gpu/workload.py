"""Samples of exactly known length, and random adapters."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from PIL import Image
from sizes import SUBSPACES, Size
from torch.nn import Parameter

from fcit_app.arrays import Arrays
from fcit_app.data.sample import Sample
from fcit_app.model.adapters import initial_adapter, is_adapter, read_parameters
from fcit_app.model.bank import Bank, Subspace
from fcit_app.model.base import BaseModel
from fcit_app.model.prompt import encode_dialogues

ANSWER_WORDS = 4
"""FCIT's answers are short; with the end of sequence five tokens have a loss."""

_FILES = 8


def samples_of(base: BaseModel, size: Size, lengths: Sequence[int]) -> list[Sample]:
    """Make samples of so many tokens each, picture, answer and end of sequence included.

    Pictures are JPEG files in memory, decoded at each look as files in a folder are. All samples
    have different names, so no cached feature is ever used twice by accident.
    """
    (whole, _), *_ = encode_dialogues(base, [_sample(size, 0, 1)])
    return [_sample(size, number, 1 + length - len(whole)) for number, length in enumerate(lengths)]


def mixed_lengths(size: Size, count: int) -> list[int]:
    """Lengths spread evenly about ``size.tokens``, in a seeded random order."""
    spread = np.linspace(size.tokens - size.spread, size.tokens + size.spread, count).round()
    return [int(length) for length in np.random.default_rng(0).permutation(spread)]


def random_start(handles: Mapping[str, Parameter]) -> Arrays:
    """Where training starts: a fresh adapter, and the projector as it is."""
    values = read_parameters({n: h for n, h in handles.items() if not is_adapter(n)})
    return values | initial_adapter(handles, seed=0)


def random_bank(handles: Mapping[str, Parameter], subspaces: int = SUBSPACES) -> Bank:
    """Subspaces without tokens whose both matrices are random, so that each changes the output."""
    generator = np.random.default_rng(0)
    adapters = [
        {
            name: (generator.standard_normal(tuple(handle.shape)) * 0.01).astype(np.float32)
            for name, handle in handles.items()
            if is_adapter(name)
        }
        for _ in range(subspaces)
    ]
    return Bank(tuple(Subspace(number, a, None, 1) for number, a in enumerate(adapters)))


def _sample(size: Size, number: int, words: int) -> Sample:
    return Sample(
        identifier=f"benchmark/{number}",
        task="figureqa",
        question=" ".join(f"w{place % 100}" for place in range(number, number + words)),
        answer=" ".join(f"w{place}" for place in range(ANSWER_WORDS)),
        picture=lambda: Image.open(io.BytesIO(_jpeg(number % _FILES, size.picture))).convert("RGB"),
        answer_tokens=size.answer_tokens,
    )


@cache
def _jpeg(number: int, picture: tuple[int, int]) -> bytes:
    """One of a few coarse random pictures, as a file."""
    pixels = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize(picture).save(file, "JPEG", quality=90)
    return file.getvalue()
