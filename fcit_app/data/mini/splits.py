"""Which split a picture belongs to: a function of its pixels, so splits can never share one.

The split is read off a checksum of the pixels. Whoever draws a picture for a split draws again
until the checksum falls into that split; the same picture, drawn with whatever seed, is always in
the same split.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from random import Random
from typing import Literal, Protocol, TypeVar

from PIL import Image

from fcit_app.data.mini.drawing import Drawing

Split = Literal["pretraining", "train", "validation", "test"]

_BUCKETS = 16
_SPLIT_OF_BUCKET: tuple[Split, ...] = (
    *("pretraining",) * 8,
    *("train",) * 4,
    *("validation",) * 2,
    *("test",) * 2,
)


class _Picture(Protocol):
    @property
    def drawing(self) -> Drawing: ...


PictureT = TypeVar("PictureT", bound=_Picture)


def split_of(image: Image.Image) -> Split:
    """Tell the one split to which a picture belongs."""
    return _SPLIT_OF_BUCKET[zlib.crc32(image.tobytes()) % _BUCKETS]


class SplitPen:
    """Draws pictures of one split only.

    Parameters
    ----------
    random : random.Random
        Source of all choices.
    split : Split
        Pictures outside this split are thrown away and drawn anew.
    """

    def __init__(self, random: Random, split: Split) -> None:
        self.random = random
        self.split = split

    def draw(self, kind: Callable[[Random], PictureT]) -> PictureT:
        """Draw a picture of the given kind that belongs to this pen's split."""
        while True:
            picture = kind(self.random)
            if split_of(picture.drawing.image) == self.split:
                return picture
