"""Whether one answer is right."""

from __future__ import annotations

import math
import re
from typing import Literal

from fcit_app.errors import DataError

Rule = Literal["exact", "box", "substring", "cut-box"]
"""The paper's two metrics, and what the released scripts make of them for some tasks."""

Box = tuple[float, float, float, float]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
_BETWEEN = r"(?:\s*,\s*|\s+)"
_FOUR = re.compile(
    rf"\s*({_NUMBER}){_BETWEEN}({_NUMBER}){_BETWEEN}({_NUMBER}){_BETWEEN}({_NUMBER})\s*"
)
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


def score(rule: Rule, prediction: str, reference: str) -> bool:
    """Judge an answer.

    Parameters
    ----------
    rule : {"exact", "box", "substring", "cut-box"}
        ``exact``: equal to the reference but for letter case and blanks around it; an empty answer
        is wrong. ``box``: intersection over union with the reference box above 0.5; an answer that
        is no box is wrong. ``substring``: part of the reference but for letter case, even if
        empty. ``cut-box``: as ``box``, with the answer's first and last character cut off.
    prediction : str
        What the model said.
    reference : str
        What it should have said.

    Raises
    ------
    DataError
        If the reference box is no box, or the rule is unknown.

    Notes
    -----
    FCIT's evaluation scripts, whose two defects are rules of their own, ``substring`` and
    ``cut-box``; ``evaluate.scoring`` says which tasks they judge.
    """
    if rule == "exact":
        said = prediction.strip().casefold()
        return bool(said) and said == reference.strip().casefold()
    if rule == "substring":
        return prediction.strip().upper() in reference.strip().upper()
    if rule in ("box", "cut-box"):
        truth = parse_box(reference)
        if truth is None:
            raise DataError(
                f"The reference '{reference}' is no box; one is '[0.1, 0.2, 0.5, 0.8]'."
            )
        box = parse_box(prediction) if rule == "box" else parse_cut_box(prediction)
        return box is not None and intersection_over_union(box, truth) > 0.5
    raise DataError(
        f"There is no metric '{rule}'; allowed are 'exact', 'box', 'substring' and 'cut-box'."
    )


def parse_box(text: str) -> Box | None:
    """Read ``(left, top, right, bottom)`` from the first brackets, or from four bare numbers.

    Commas, blanks or both may stand between the numbers, which may be integers.

    Returns
    -------
    Box or None
        None if there are not exactly four numbers, or they span no area.
    """
    brackets = _BRACKETS.search(text)
    match = _FOUR.fullmatch(brackets.group(1) if brackets else text)
    if match is None:
        return None
    left, top, right, bottom = map(float, match.groups())
    if not all(map(math.isfinite, (left, top, right, bottom))):
        return None
    return (left, top, right, bottom) if left < right and top < bottom else None


def parse_cut_box(text: str) -> Box | None:
    """Read a box as the released ``eval_grounding`` does: brackets are taken off twice.

    The second time the first and the last character go with them, so ``[0.41, 0.2, 0.6, 0.8]`` is
    read as (.41, .2, .6, 0.) and ends above its own top. Only the answer is read so here; whether
    the released script treats its reference alike is not known to us.

    Returns
    -------
    Box or None
        None where the released script fails; unlike ``parse_box`` the box may span no area.
    """
    parts = text.strip().replace("[", "").replace("]", "")[1:-1].split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        return None
    left, top, right, bottom = numbers
    return left, top, right, bottom


def intersection_over_union(first: Box, second: Box) -> float:
    """Area that two boxes share over the area that they cover together, in [0, 1]."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)
