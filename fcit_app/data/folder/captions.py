"""Reference captions in COCO form, matched with the test records by their order."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from fcit_app.errors import DataError


def read_captions(file: Path) -> tuple[tuple[str, ...], ...]:
    """Read the reference captions of each picture, in the order of the file's ``images``.

    FCIT matches them with the test records by order alone: its predictions are numbered 1, 2, 3
    as they come, and so are the pictures here.

    Parameters
    ----------
    file : Path
        ``{"images": [{"id"}, ...], "annotations": [{"image_id", "id", "caption"}, ...]}``.

    Returns
    -------
    tuple of tuple of str
        At least one caption a picture; empty ones are left out.

    Raises
    ------
    DataError
        If the file cannot be read, is not of this form, or a picture has no caption.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        images = [entry["id"] for entry in content["images"]]
        captions: dict[object, list[str]] = defaultdict(list)
        for entry in content["annotations"]:
            if caption := str(entry["caption"]).strip():
                captions[entry["image_id"]].append(caption)
    except OSError as error:
        raise DataError(f"{file}: the file cannot be read: {error.strerror or error}.") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"{file}: not in COCO's caption form, an object with 'images' and 'annotations': "
            f"{type(error).__name__}: {error}."
        ) from error
    without = [image for image in images if not captions.get(image)]
    if without:
        raise DataError(
            f"{file}: {len(without)} pictures have no caption, the first is {without[0]!r}."
        )
    return tuple(tuple(captions[image]) for image in images)
