"""How single things are drawn: shapes, sketched objects, and the record of what was drawn where."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

from PIL import Image, ImageDraw, ImageFont

from fcit_app.data.mini.vocabulary import (
    BACKGROUNDS,
    COLOUR_NAMES,
    COLOURS,
    PICTURE_SIZE,
    Colour,
)

Box = tuple[float, float, float, float]
Point = tuple[float, float]

FONT = ImageFont.load_default(size=16)


@dataclass(frozen=True)
class Mark:
    """Something visible: where it is (pixels: left, top, right, bottom) and what it shows."""

    box: Box
    symbol: str
    colour: str | None = None


@dataclass
class Drawing:
    """A picture under construction with the marks that were put on it."""

    image: Image.Image
    marks: list[Mark] = field(default_factory=list)

    @classmethod
    def blank(cls, background: Colour) -> Drawing:
        """Start an empty picture."""
        return cls(Image.new("RGB", (PICTURE_SIZE, PICTURE_SIZE), background))

    @property
    def pen(self) -> ImageDraw.ImageDraw:
        """A Pillow pen for this picture."""
        return ImageDraw.Draw(self.image)


def draw_shape(drawing: Drawing, shape: str, centre: Point, radius: int, colour: str) -> None:
    """Draw one of the six filled shapes and mark it."""
    pen, fill = drawing.pen, COLOURS[colour]
    x, y = centre
    r = radius
    if shape == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    elif shape == "square":
        pen.rectangle((x - r + 1, y - r + 1, x + r - 1, y + r - 1), fill=fill)
    elif shape == "triangle":
        pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=fill)
    elif shape == "diamond":
        pen.polygon([(x, y - r), (x - r + 1, y), (x, y + r), (x + r - 1, y)], fill=fill)
    elif shape == "cross":
        pen.rectangle((x - r, y - 2, x + r, y + 2), fill=fill)
        pen.rectangle((x - 2, y - r, x + 2, y + r), fill=fill)
    else:
        pen.polygon(_star(x, y, r + 1), fill=fill)
    drawing.marks.append(Mark((x - r, y - r, x + r, y + r), shape, colour))


def _star(x: float, y: float, radius: float) -> list[Point]:
    corners = []
    for corner in range(10):
        angle = -math.pi / 2 + corner * math.pi / 5
        length = radius if corner % 2 == 0 else radius * 0.42
        corners.append((x + length * math.cos(angle), y + length * math.sin(angle)))
    return corners


def draw_text(drawing: Drawing, text: str, corner: Point, symbol: str, fill: Colour) -> None:
    """Write one character with its top left corner near ``corner`` and mark it."""
    x, y = corner
    drawing.pen.text((x, y), text, font=FONT, fill=fill)
    drawing.marks.append(Mark((x, y + 2, x + 12, y + 16), symbol))


class Sketch:
    """Draws an object in a square of ``scale`` on a canvas of 100 by 100 units.

    Four renderings (filled, outlined, inverted, coloured) stand for ImageNet-R's art, sketches,
    negatives and paintings.
    """

    def __init__(self, random: Random) -> None:
        rendering = random.choice(["filled", "outlined", "inverted", "coloured"])
        background: Colour = random.choice(BACKGROUNDS)
        self.fill: Colour | None = (30, 30, 30)
        if rendering == "outlined":
            background, self.fill = (255, 250, 235), None
        elif rendering == "inverted":
            background, self.fill = (25, 25, 40), (240, 240, 240)
        elif rendering == "coloured":
            self.fill = COLOURS[random.choice(COLOUR_NAMES)]
        self.line: Colour = self.fill or (90, 60, 40)
        self.hole: Colour = background if self.fill else self.line
        self.background = background
        self.drawing = Drawing.blank(background)
        self.pen = self.drawing.pen
        self.scale = random.uniform(0.75, 1.0)
        self.left = random.uniform(0, 1) * (1 - self.scale) * 44 + 2
        self.top = random.uniform(0, 1) * (1 - self.scale) * 44 + 2

    def at(self, x: float, y: float) -> Point:
        """Canvas units to pixels."""
        unit = self.scale * 0.44
        return self.left + x * unit, self.top + y * unit

    def polygon(self, *points: Point) -> None:
        """Fill a polygon, or draw its outline."""
        corners = [self.at(*point) for point in points]
        if self.fill is None:
            self.pen.line([*corners, corners[0]], fill=self.line, width=2)
        else:
            self.pen.polygon(corners, fill=self.fill)

    def ellipse(
        self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None = None
    ) -> None:
        """Fill an ellipse, or draw its outline."""
        box = (*self.at(x0, y0), *self.at(x1, y1))
        if self.fill is None and fill is None:
            self.pen.ellipse(box, outline=self.line, width=2)
        else:
            self.pen.ellipse(box, fill=fill or self.fill)

    def stroke(self, *points: Point, width: int = 2) -> None:
        """Draw an open line."""
        self.pen.line([self.at(*point) for point in points], fill=self.line, width=width)

    def finish(self, name: str) -> Drawing:
        """Mark the object and hand the picture over."""
        size = 44 * self.scale
        box = (self.left, self.top, self.left + size, self.top + size)
        self.drawing.marks.append(Mark(box, name))
        return self.drawing
