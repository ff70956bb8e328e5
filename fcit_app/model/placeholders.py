"""What stands in a prompt for a picture whose number of tokens depends on its size.

Written as the checkpoints' own processors write it, but from the size alone, so that no picture is
processed to lay out a prompt. Those classes cannot be used themselves: they ask for video packages.
"""

from __future__ import annotations

from typing import Any

from fcit_app.model.architectures import Sight

QWEN_IMAGE = "<|image_pad|>"
"""Qwen2.5-VL's image token."""

IMAGE = "<image>"
"""Idefics3's and SmolVLM's."""

_AROUND, _GLOBAL = "<fake_token_around_image>", "<global-img>"


def image_token(sight: Sight) -> str:
    """Name the token that stands for a piece of a picture."""
    return QWEN_IMAGE if sight == "grid" else IMAGE


def picture_text(
    sight: Sight, image_processor: Any, tile_tokens: int, width: int, height: int
) -> str:
    """Write the placeholders of one picture.

    Parameters
    ----------
    sight : {"grid", "tiles"}
        Which architecture.
    image_processor : BaseImageProcessor
        The checkpoint's; knows into how many pieces it cuts a picture.
    tile_tokens : int
        Tokens of a tile; not used by "grid".
    width, height : int
        Of the picture, in pixels.
    """
    found = image_processor.get_number_of_image_patches(height, width, {})
    if sight == "grid":
        return QWEN_IMAGE * int(found // image_processor.merge_size**2)
    _, rows, columns = found
    tile = IMAGE * tile_tokens
    whole = f"{_AROUND}{_GLOBAL}{tile}{_AROUND}"
    if rows == columns == 0:
        return whole
    lines = [
        "".join(f"{_AROUND}<row_{row}_col_{column}>{tile}" for column in range(1, columns + 1))
        for row in range(1, rows + 1)
    ]
    return "".join(f"{line}\n" for line in lines) + "\n" + whole
