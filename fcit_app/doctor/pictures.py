"""Check many pictures, several at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from fcit_app.data.folder.defects import BadRecordError
from fcit_app.data.folder.pictures import check_picture, find_picture
from fcit_app.doctor.checksums import checksum
from fcit_app.workers import usable_cores

_BATCH = 256

Answer = int | tuple[str, str]
"""Checksum of a picture, or kind and text of what is wrong with it."""

Told = Callable[[str, str, Answer], None]
"""Takes image path, the place that names it, and the answer."""


class PictureCheck:
    """Checks the pictures of one data set; threads help, since Pillow decodes outside the lock.

    Parameters
    ----------
    folder : Path
        Folder to which image paths are relative.
    whole : bool
        Read each picture to its end; otherwise only see whether it is there. The checksum is of its
        bytes, or of its path.
    """

    def __init__(self, folder: Path, whole: bool) -> None:
        self._folder = folder
        self._whole = whole
        self._pool = ThreadPoolExecutor(max_workers=2 * usable_cores())
        self._waiting: list[tuple[str, str, Told]] = []

    def __enter__(self) -> PictureCheck:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, image: str, place: str, told: Told) -> None:
        """Check a picture with the next batch, and tell the answer then."""
        self._waiting.append((image, place, told))
        if len(self._waiting) >= _BATCH:
            self.finish()

    def finish(self) -> None:
        """Check what is waiting."""
        waiting, self._waiting = self._waiting, []
        answers = self._pool.map(self._check, [image for image, _, _ in waiting])
        for (image, place, told), answer in zip(waiting, answers, strict=True):
            told(image, place, answer)

    def _check(self, image: str) -> Answer:
        try:
            if self._whole:
                return check_picture(self._folder / image)
            find_picture(self._folder / image)
        except BadRecordError as error:
            # Not the error itself, whose trace would keep the picture's bytes alive.
            return error.kind, error.what
        return checksum(image)
