"""Whether one answer is right."""

from __future__ import annotations

import math
import re

from fcit_app.data.catalogue import Metric
from fcit_app.errors import DataError

Box = tuple[float, float, float, float]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
_BETWEEN = r"(?:\s*,\s*|\s+)"
_FOUR = re.compile(
    rf"\s*({_NUMBER}){_BETWEEN}({_NUMBER}){_BETWEEN}({_NUMBER}){_BETWEEN}({_NUMBER})\s*"
)
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


def score(metric: Metric, prediction: str, reference: str) -> bool:
    """Judge an answer.

    Parameters
    ----------
    metric : {"exact", "box"}
        ``exact``: equal to the reference but for letter case and blanks around it; an empty answer
        is wrong. ``box``: intersection over union with the reference box above 0.5; an answer that
        is no box is wrong.
    prediction : str
        What the model said.
    reference : str
        What it should have said.

    Raises
    ------
    DataError
        If the reference of ``box`` is no box, or the metric is unknown.

    Notes
    -----
    FCIT's evaluation scripts, but for two defects of theirs: a substring of the reference (even an
    empty one) counts as right there for some tasks, and their box parser cuts off the last digit.
    """
    if metric == "exact":
        said = prediction.strip().casefold()
        return bool(said) and said == reference.strip().casefold()
    if metric == "box":
        truth = parse_box(reference)
        if truth is None:
            raise DataError(
                f"The reference '{reference}' is no box; one is '[0.1, 0.2, 0.5, 0.8]'."
            )
        box = parse_box(prediction)
        return box is not None and intersection_over_union(box, truth) > 0.5
    raise DataError(f"There is no metric '{metric}'; allowed are 'exact' and 'box'.")


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


def intersection_over_union(first: Box, second: Box) -> float:
    """Area that two boxes share over the area that they cover together, in [0, 1]."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)
