"""How much privacy Gaussian noise buys: exact (ε, δ) of one release and of several.

Noise of standard deviation σ on a quantity that one neighbour can move by Δ (in L2) hides it as
well as a single standard normal hides a shift of μ = Δ / σ, and k releases as a shift of √k μ
(Dong, Roth and Su 2022, Gaussian differential privacy, Corollary 3.3). Of such a shift (ε, δ) is
known in closed form (Balle and Wang 2018, Improving the Gaussian mechanism, Theorem 8), for every
ε: no bound and no approximation of a moments or Rényi accountant is needed.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr


def delta_of(epsilon: float, noise: float, releases: int = 1) -> float:
    """Smallest δ with which releases of the Gaussian mechanism are (ε, δ)-private.

    ``δ = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ)`` with ``μ = √releases / noise``.

    Parameters
    ----------
    epsilon : float
        0 or more.
    noise : float
        Noise multiplier σ / Δ, above 0.
    releases : int
        How many times something that holds the same data was given out; 0 or more.
    """
    if releases == 0:
        return 0.0
    shift = math.sqrt(releases) / noise
    seen = float(ndtr(shift / 2 - epsilon / shift))
    # In logarithms: e^ε alone overflows where the product is small.
    return seen - math.exp(epsilon + float(log_ndtr(-shift / 2 - epsilon / shift)))


def epsilon_of(delta: float, noise: float, releases: int = 1) -> float:
    """Smallest ε with which releases of the Gaussian mechanism are (ε, δ)-private.

    Parameters
    ----------
    delta : float
        Above 0 and below 1.
    noise, releases
        See ``delta_of``.

    Returns
    -------
    float
        0 if the noise hides the data as well as ``delta`` asks for without any ε.
    """
    if delta_of(0.0, noise, releases) <= delta:
        return 0.0
    shift = math.sqrt(releases) / noise
    # Where concentrated differential privacy puts it (Bun and Steinke 2016): never too small.
    largest = shift * shift / 2 + shift * math.sqrt(-2.0 * math.log(delta))
    return float(brentq(lambda e: delta_of(e, noise, releases) - delta, 0.0, largest, rtol=1e-12))
