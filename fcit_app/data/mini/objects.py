"""The ten sketched objects of the mini ImageNet-R."""

from __future__ import annotations

import math
from random import Random

from fcit_app.data.mini.drawing import Drawing, Sketch


def draw_object(random: Random, name: str) -> Drawing:
    """Draw one object in a random rendering, size and place."""
    sketch = Sketch(random)
    _PAINTERS[name](sketch)
    return sketch.finish(name)


def _house(s: Sketch) -> None:
    s.polygon((10, 50), (50, 8), (90, 50))
    s.polygon((20, 50), (80, 50), (80, 95), (20, 95))
    s.pen.rectangle((*s.at(43, 65), *s.at(57, 95)), fill=s.hole)


def _tree(s: Sketch) -> None:
    s.polygon((50, 5), (15, 65), (85, 65))
    s.polygon((43, 65), (57, 65), (57, 98), (43, 98))


def _fish(s: Sketch) -> None:
    s.ellipse(5, 30, 70, 75)
    s.polygon((65, 52), (97, 25), (97, 80))
    s.ellipse(15, 42, 24, 51, s.background)


def _car(s: Sketch) -> None:
    s.polygon((5, 50), (25, 50), (35, 28), (68, 28), (80, 50), (96, 50), (96, 72), (5, 72))
    s.ellipse(15, 62, 38, 86, s.line)
    s.ellipse(62, 62, 85, 86, s.line)


def _sun(s: Sketch) -> None:
    s.ellipse(28, 28, 72, 72)
    for ray in range(8):
        x, y = math.cos(ray * math.pi / 4), math.sin(ray * math.pi / 4)
        s.stroke((50 + 28 * x, 50 + 28 * y), (50 + 48 * x, 50 + 48 * y))


def _moon(s: Sketch) -> None:
    s.ellipse(12, 8, 92, 92, s.line)
    s.ellipse(38, 4, 112, 80, s.background)


def _boat(s: Sketch) -> None:
    s.polygon((5, 65), (95, 65), (78, 92), (22, 92))
    s.polygon((50, 5), (50, 60), (85, 60))
    s.stroke((48, 5), (48, 65), width=1)


def _flower(s: Sketch) -> None:
    for petal in range(5):
        angle = -math.pi / 2 + petal * 2 * math.pi / 5
        x, y = 50 + 22 * math.cos(angle), 34 + 22 * math.sin(angle)
        s.ellipse(x - 14, y - 14, x + 14, y + 14)
    s.ellipse(42, 26, 58, 42, s.background)
    s.stroke((50, 64), (50, 98))


def _cup(s: Sketch) -> None:
    s.polygon((15, 25), (65, 25), (58, 90), (22, 90))
    s.pen.ellipse((*s.at(58, 35), *s.at(92, 70)), outline=s.line, width=2)


def _face(s: Sketch) -> None:
    s.ellipse(5, 5, 95, 95)
    s.ellipse(28, 32, 40, 44, s.hole)
    s.ellipse(60, 32, 72, 44, s.hole)
    s.pen.arc((*s.at(28, 40), *s.at(72, 76)), 20, 160, fill=s.hole, width=2)


_PAINTERS = {
    "house": _house,
    "tree": _tree,
    "fish": _fish,
    "car": _car,
    "sun": _sun,
    "moon": _moon,
    "boat": _boat,
    "flower": _flower,
    "cup": _cup,
    "face": _face,
}
