"""Pictures in a folder: found when a sample is read, opened when it is looked at."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import Image

from fcit_app.data.folder.defects import BadRecordError


def open_picture(path: Path) -> Image.Image:
    """Open a picture as RGB.

    Raises
    ------
    BadRecordError
        If it is missing or unreadable.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow raises anything on a mangled file
        raise _bad(path, error) from error


def picture_bytes(path: Path) -> bytes:
    """Read a picture's file without looking into it; raises ``BadRecordError``."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _bad(path, error) from error


def find_picture(path: Path) -> None:
    """Check that a picture is there, without opening it; raises ``BadRecordError``."""
    try:
        there = path.is_file()
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise _bad(path, error) from error
    if not there:
        raise _bad(path, FileNotFoundError())


def check_picture(path: Path) -> int:
    """Read all of a picture, which finds files cut short, and keep nothing of it.

    Returns
    -------
    int
        64-bit checksum of the file: equal for equal files whatever their names.

    Raises
    ------
    BadRecordError
        If it is missing or unreadable.
    """
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            # A JPEG is read to its end but decoded at an eighth of its size: much faster.
            image.draft("RGB", (1, 1))
            image.load()
    except Exception as error:  # Pillow raises anything on a mangled file
        raise _bad(path, error) from error
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def _bad(path: Path, error: Exception) -> BadRecordError:
    if isinstance(error, FileNotFoundError):
        return BadRecordError("missing-image", f"its picture {path} is missing. Fetch it.")
    return BadRecordError(
        "unreadable-image",
        f"its picture {path} cannot be read: {error}. Fetch it again, or leave the record out.",
    )
