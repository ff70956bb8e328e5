"""How far each client moved, against the others of the round."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np
from flwr.app import ArrayRecord

LEAST_FOR_MEDIAN = 3
"""With fewer replies nobody can say which of them is the odd one."""


@dataclass(frozen=True)
class Outlier:
    """A reply that moved much further than the round's median.

    Parameters
    ----------
    record : str
        Name of the array record.
    norm, median : float
        L2 norm of its change, and the median of all replies'.
    """

    record: str
    norm: float
    median: float

    @property
    def reason(self) -> str:
        """What is wrong, in words."""
        return (
            f"{self.record}: the change has norm {self.norm:.3g}, {self.norm / self.median:.3g} "
            f"times the round's median {self.median:.3g}"
        )


def change_norm(sent: ArrayRecord, found: ArrayRecord) -> float:
    """L2 norm of the difference of two records with the same keys and shapes, in float64."""
    squares = 0.0
    for key, array in sent.items():
        change = found[key].numpy().astype(np.float64) - array.numpy()
        squares += float(np.sum(change * change))
    return math.sqrt(squares)


def change_norms(
    sent: Mapping[str, ArrayRecord], found: Mapping[str, ArrayRecord]
) -> dict[str, float]:
    """Name of each record that came back to the norm of its change."""
    return {name: change_norm(sent[name], record) for name, record in found.items()}


def outliers(norms: Mapping[int, Mapping[str, float]], factor: float) -> dict[int, Outlier]:
    """Find the clients that moved a record more than ``factor`` times the median.

    Parameters
    ----------
    norms : Mapping[int, Mapping[str, float]]
        Client to name of a record to norm.
    factor : float
        How many times the median is too far; 0 judges nobody.

    Returns
    -------
    dict[int, Outlier]
        Client to its first outlying record. Records of fewer than ``LEAST_FOR_MEDIAN`` clients, and
        those that most clients left as they were, are not judged.
    """
    if not factor:
        return {}
    found: dict[int, Outlier] = {}
    for name in _names(norms.values()):
        moved = {client: of[name] for client, of in norms.items() if name in of}
        middle = median(moved.values())
        if len(moved) < LEAST_FOR_MEDIAN or not middle:
            continue
        for client, norm in moved.items():
            if norm > factor * middle:
                found.setdefault(client, Outlier(name, norm, middle))
    return found


def _names(norms: Iterable[Mapping[str, float]]) -> list[str]:
    return sorted({name for of in norms for name in of})
