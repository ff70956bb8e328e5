"""Whether two settings differ by more than noise: of the test questions, and of the seeds.

Two kinds of noise are kept apart. *Other questions*: a test set is a sample; for two runs that
answered the same questions, differences are resampled question by question (paired bootstrap,
Efron and Tibshirani 1993, chapter 16), else each share of right answers is drawn from its Jeffreys
posterior Beta(k + 1/2, n - k + 1/2) (Brown, Cai and DasGupta 2001), which does not collapse at 100
percent. *Other seeds*: seen only in runs that were repeated (Bouthillier et al. 2021).

With several runs a side the interval of a difference is Welch's (1947), with the noise of the
questions, which all seeds share, added to its variance. With one run a side nothing is known of
other seeds; the tasks stand in for them: their differences must agree on a sign, by a t interval
over tasks (tasks as the sample: Demsar 2006). That is cautious: a gain in one task alone is no gain
there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Draws = NDArray[np.float64]
"""Differences in percentage points, (draws,)."""

Span = tuple[float, float]
"""Ends of a 95 % interval, in percentage points."""

DRAWS = 4000
_TAIL = 0.975


def paired_draws(differences: Sequence[float], generator: np.random.Generator) -> Draws:
    """Resample the questions of a task that both runs were asked.

    Parameters
    ----------
    differences : Sequence[float]
        A question's score in B minus that in A, 0 to 1 each; at least one.
    generator : numpy.random.Generator
        Source of chance.
    """
    values, counts = np.unique(np.asarray(differences, dtype=np.float64), return_counts=True)
    drawn = generator.multinomial(int(counts.sum()), counts / counts.sum(), size=DRAWS)
    return np.asarray(100.0 * (drawn @ values) / counts.sum(), dtype=np.float64)


def count_draws(percent: float, questions: int, generator: np.random.Generator) -> Draws:
    """Draw the percentage that a run would have on other questions, from its count alone."""
    right = percent / 100.0 * questions
    drawn = generator.beta(right + 0.5, questions - right + 0.5, size=DRAWS)
    return np.asarray(100.0 * drawn, dtype=np.float64)


def span_of(draws: Draws) -> Span:
    """Give the middle 95 % of some draws."""
    low, high = np.percentile(draws, [100 * (1 - _TAIL), 100 * _TAIL])
    return float(low), float(high)


def over_tasks(differences: Sequence[float]) -> Span | None:
    """Give the t interval of the mean of the tasks' differences; None for less than three tasks."""
    count = len(differences)
    if count < 3:
        return None
    middle, spread = float(np.mean(differences)), float(np.std(differences, ddof=1))
    reach = float(stats.t.ppf(_TAIL, count - 1)) * spread / count**0.5
    return middle - reach, middle + reach


def over_seeds(a: Sequence[float], b: Sequence[float], questions: float) -> Span:
    """Interval of the difference of two groups' means, B minus A.

    Parameters
    ----------
    a, b : Sequence[float]
        A number for each run, in percent; one of the groups has two or more. A single run is taken
        to spread as the other group does.
    questions : float
        Variance that the choice of the test questions adds to the difference of the means.
    """
    spreads = [float(np.var(group, ddof=1)) for group in (a, b) if len(group) > 1]
    of_a = float(np.var(a, ddof=1)) if len(a) > 1 else spreads[0]
    of_b = float(np.var(b, ddof=1)) if len(b) > 1 else spreads[0]
    parts = of_a / len(a), of_b / len(b)
    seeds = sum(parts)
    total = seeds + questions
    # Welch and Satterthwaite; the questions are many, and add variance but no uncertainty of it.
    loose = sum(
        part**2 / (len(group) - 1)
        for part, group in zip(parts, (a, b), strict=True)
        if len(group) > 1
    )
    freedom = total**2 / loose if loose > 0 else np.inf
    if min(len(a), len(b)) == 1:
        freedom = float(max(len(a), len(b)) - 1)
    reach = float(stats.t.ppf(_TAIL, freedom)) * total**0.5
    middle = float(np.mean(b) - np.mean(a))
    return middle - reach, middle + reach


def excludes_zero(span: Span | None) -> bool:
    """Whether an interval says that there is a difference; what is unknown does not object."""
    return span is None or not span[0] <= 0.0 <= span[1]
