"""The things that the mini world is made of, in words and in colours."""

from __future__ import annotations

PICTURE_SIZE = 48
"""Width and height of every picture in pixels."""
PATCH_SIZE = 16
"""Width and height of an image token in pixels: a picture is three by three patches."""
PATCHES = (PICTURE_SIZE // PATCH_SIZE) ** 2

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (220, 30, 30),
    "green": (30, 160, 50),
    "blue": (40, 70, 220),
    "yellow": (235, 205, 30),
    "purple": (150, 50, 180),
    "orange": (245, 130, 20),
}
COLOUR_NAMES = tuple(COLOURS)
SHAPES = ("circle", "square", "triangle", "star", "cross", "diamond")
OBJECTS = ("house", "tree", "fish", "car", "sun", "moon", "boat", "flower", "cup", "face")
TRENDS = ("rising", "falling", "peak", "dip", "flat", "wavy")
LEVELS = ("short", "medium", "tall")
LETTERS = "ABCDEHKLMRTX"
"""Letters that stay legible at sixteen pixels."""
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLACES = tuple(
    f"{row} {column}"
    for row in ("top", "middle", "bottom")
    for column in ("left", "center", "right")
)
BACKGROUNDS: tuple[Colour, ...] = (
    (255, 255, 255),
    (245, 245, 235),
    (235, 240, 248),
    (225, 225, 225),
)


def plural(shape: str) -> str:
    """English plural of a shape's name."""
    return shape + ("es" if shape.endswith("s") else "s")


SYMBOLS: tuple[str, ...] = (
    "none",
    *SHAPES,
    *OBJECTS,
    *TRENDS,
    *LEVELS,
    *(f"letter {letter}" for letter in LETTERS),
    *(f"digit {digit}" for digit in range(10)),
)
"""What one patch of a picture can show; the targets of the pre-training's alignment loss."""
