"""The seven kinds of pictures, each with the facts that questions are made from.

Things keep to the three-by-three grid of image patches, one thing a patch; bars come in three
clearly different heights, lines with an amplitude of ten pixels or more. That keeps every picture
readable at 48 pixels, and it is what makes this benchmark easier than the real one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from fcit_app.data.mini.drawing import Drawing, Mark, draw_shape, draw_text
from fcit_app.data.mini.objects import draw_object
from fcit_app.data.mini.vocabulary import (
    BACKGROUNDS,
    COLOUR_NAMES,
    COLOURS,
    LETTERS,
    LEVELS,
    OBJECTS,
    PATCH_SIZE,
    PICTURE_SIZE,
    PLACES,
    SHAPES,
    TRENDS,
)


@dataclass(frozen=True)
class Thing:
    """A coloured shape in a cell (0 to 8, row by row) of the grid."""

    cell: int
    colour: str
    shape: str
    box: tuple[float, float, float, float]

    @property
    def name(self) -> str:
        """Colour and shape, for example ``red circle``."""
        return f"{self.colour} {self.shape}"

    @property
    def place(self) -> str:
        """Place in words, for example ``top left``."""
        return PLACES[self.cell]


@dataclass(frozen=True)
class Things:
    """A picture of coloured shapes, in reading order."""

    drawing: Drawing
    things: tuple[Thing, ...]


@dataclass(frozen=True)
class Bars:
    """A bar chart: colour and height level (0 short, 1 medium, 2 tall) of every bar."""

    drawing: Drawing
    colours: tuple[str, ...]
    levels: tuple[int, ...]


@dataclass(frozen=True)
class Curve:
    """A line plot: the course of its curve, and its colour."""

    drawing: Drawing
    trend: str
    colour: str


@dataclass(frozen=True)
class Cover:
    """A book cover with a title of capital letters."""

    drawing: Drawing
    title: str


@dataclass(frozen=True)
class Portrait:
    """A single sketched object."""

    drawing: Drawing
    name: str


@dataclass(frozen=True)
class Table:
    """A table of two columns: a letter and a digit a row."""

    drawing: Drawing
    letters: tuple[str, ...]
    digits: tuple[int, ...]


def _place_things(random: Random, cells: Sequence[int], kinds: Sequence[tuple[str, str]]) -> Things:
    drawing = Drawing.blank(random.choice(BACKGROUNDS))
    things = []
    for cell, (colour, shape) in zip(cells, kinds, strict=True):
        x = PATCH_SIZE * (cell % 3) + 8 + random.randint(-1, 1)
        y = PATCH_SIZE * (cell // 3) + 8 + random.randint(-1, 1)
        radius = random.choice([5, 6])
        draw_shape(drawing, shape, (x, y), radius, colour)
        things.append(Thing(cell, colour, shape, drawing.marks[-1].box))
    return Things(drawing, tuple(things))


def scene(random: Random, fewest: int = 2, most: int = 5, distinct: bool = False) -> Things:
    """Scatter coloured shapes over the grid; ``distinct``: no colour and no shape twice."""
    count = random.randint(fewest, most)
    cells = sorted(random.sample(range(9), count))
    if distinct:
        colours, shapes = random.sample(COLOUR_NAMES, count), random.sample(SHAPES, count)
        return _place_things(random, cells, list(zip(colours, shapes, strict=True)))
    # Few colours a picture, so that questions about a colour often count several things.
    palette = random.sample(COLOUR_NAMES, random.choice([2, 3, len(COLOUR_NAMES)]))
    kinds = [(random.choice(palette), random.choice(SHAPES)) for _ in cells]
    return _place_things(random, cells, kinds)


def icons(random: Random, most: int = 6) -> Things:
    """Repeat one coloured shape one to ``most`` times."""
    count = random.randint(1, most)
    kind = (random.choice(COLOUR_NAMES), random.choice(SHAPES))
    return _place_things(random, sorted(random.sample(range(9), count)), [kind] * count)


def row(random: Random) -> Things:
    """Draw two or three neighbours in one row, all colours and shapes different."""
    count = random.choice([2, 3, 3])
    first = 3 * random.randrange(3) + random.randint(0, 3 - count)
    colours, shapes = random.sample(COLOUR_NAMES, count), random.sample(SHAPES, count)
    cells = range(first, first + count)
    return _place_things(random, cells, list(zip(colours, shapes, strict=True)))


def bars(random: Random) -> Bars:
    """Draw two or three bars of different colours and levels, each in a column of its own."""
    count = random.choice([2, 3, 3])
    drawing = Drawing.blank(random.choice(BACKGROUNDS))
    colours = tuple(random.sample(COLOUR_NAMES, count))
    levels = tuple(random.sample(range(3), count))
    floor = PICTURE_SIZE - 3
    drawing.pen.line([(1, floor), (47, floor)], fill=(60, 60, 60))
    for column, colour, level in zip(
        sorted(random.sample(range(3), count)), colours, levels, strict=True
    ):
        left = 3 + PATCH_SIZE * column + random.randint(-1, 1)
        top = floor - (11 + 12 * level + random.randint(-2, 2))
        drawing.pen.rectangle((left, top, left + 10, floor - 1), fill=COLOURS[colour])
        drawing.marks.append(Mark((left, top, left + 10, floor - 1), LEVELS[level], colour))
    return Bars(drawing, colours, levels)


def curve(random: Random) -> Curve:
    """Draw a line plot with one of six courses."""
    drawing = Drawing.blank((255, 255, 255))
    trend, colour = random.choice(TRENDS), random.choice(COLOUR_NAMES)
    drawing.pen.line([(4, 2), (4, 44), (46, 44)], fill=(40, 40, 40))
    amplitude, middle = random.uniform(10, 16), random.uniform(20, 26)
    phase = random.uniform(0, 2 * math.pi)
    courses: dict[str, Callable[[float], float]] = {
        "rising": lambda u: 1 - 2 * u,
        "falling": lambda u: 2 * u - 1,
        "peak": lambda u: 1 - 2 * (1 - abs(2 * u - 1)),
        "dip": lambda u: 2 * (1 - abs(2 * u - 1)) - 1,
        "flat": lambda u: 0.0,
        "wavy": lambda u: 0.6 * math.sin(phase + 14 * u),
    }
    points = []
    for step in range(13):
        u = step / 12
        y = middle + amplitude * courses[trend](u) + random.uniform(-1, 1)
        points.append((6 + u * 38, y))
    drawing.pen.line(points, fill=COLOURS[colour], width=2)
    drawing.marks.append(Mark((5, 2, 46, 43), trend, colour))
    return Curve(drawing, trend, colour)


def cover(random: Random, fewest: int = 3) -> Cover:
    """Draw a book cover: two or three capital letters over a line."""
    paper = random.choice(
        [(250, 245, 230), (230, 240, 250), (40, 60, 90), (90, 30, 40), (255, 255, 255)]
    )
    ink = (20, 20, 20) if sum(paper) > 400 else (250, 245, 220)
    drawing = Drawing.blank(paper)
    title = "".join(random.choice(LETTERS) for _ in range(random.randint(fewest, 3)))
    top = random.choice([6, 14, 22])
    for position, letter in enumerate(title):
        draw_text(drawing, letter, (3 + 15 * position, top), f"letter {letter}", ink)
    drawing.pen.line([(4, 44), (44, 44)], fill=ink)
    return Cover(drawing, title)


def portrait(random: Random) -> Portrait:
    """Draw one sketched object that fills the picture."""
    name = random.choice(OBJECTS)
    return Portrait(draw_object(random, name), name)


def table(random: Random) -> Table:
    """Draw two or three rows of a letter and a digit."""
    drawing = Drawing.blank(random.choice(BACKGROUNDS))
    count = random.choice([2, 3, 3])
    letters = tuple(random.sample(LETTERS, count))
    digits = tuple(random.randrange(10) for _ in range(count))
    column = random.choice([1, 2])
    rows = sorted(random.sample(range(3), count))
    for line in rows:
        drawing.pen.line([(1, 16 * line + 15), (46, 16 * line + 15)], fill=(190, 190, 190))
    for line, letter, digit in zip(rows, letters, digits, strict=True):
        y = 16 * line - 3
        draw_text(drawing, letter, (3 + random.randint(-1, 1), y), f"letter {letter}", (20, 20, 20))
        left = PATCH_SIZE * column + 3 + random.randint(-1, 1)
        draw_text(drawing, str(digit), (left, y), f"digit {digit}", (20, 20, 20))
    return Table(drawing, letters, digits)
