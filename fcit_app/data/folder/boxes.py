"""Boxes written in a text, as FCIT writes them: ``[x1, y1, x2, y2]`` in the unit square."""

from __future__ import annotations

import re

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
_BOX = re.compile(rf"\[\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\]")


def has_box(text: str) -> bool:
    """Whether a text holds four numbers in brackets."""
    return _BOX.search(text) is not None


def box_problem(text: str) -> str | None:
    """Say what is wrong with the boxes of a text; None if all lie in the unit square in order.

    Coordinates are relative to the picture padded to a square, left and top first.
    """
    for match in _BOX.finditer(text):
        left, top, right, bottom = map(float, match.groups())
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            return f"the box {match.group()} is not [left, top, right, bottom] within 0 and 1"
    return None
