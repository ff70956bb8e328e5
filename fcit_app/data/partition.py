"""How a stage's training samples are dealt to clients: Dirichlet quantity skew.

The official partition draws one Dirichlet weight per client over shuffled samples, so shards differ
in size and in nothing else, and is repeated until every client has enough. Ours keeps that
meaning, with a seed, and deals every sample (the official one drops the fractions' remainders).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from fcit_app.errors import DataError

_MOST_DRAWS = 10_000

Shard = NDArray[np.int64]


def seed_of(*parts: object) -> int:
    """Make a 64-bit seed from any values, equal on every machine and in every process."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def dirichlet_shards(
    samples: int, clients: int, beta: float, seed: int, minimum: int
) -> tuple[Shard, ...]:
    """Deal samples to clients with shard sizes from a symmetric Dirichlet distribution.

    Parameters
    ----------
    samples : int
        Number of samples; the shards partition ``range(samples)``.
    clients : int
        Number of shards.
    beta : float
        Concentration: small values give very unequal shards.
    seed : int
        Same seed, same shards.
    minimum : int
        Every shard has at least this many samples; draws that fall short are repeated.

    Returns
    -------
    tuple[Shard, ...]
        One ascending index array (int64) per client.

    Raises
    ------
    DataError
        If there are too few samples, or no draw gave every client enough.
    """
    if samples < clients * minimum:
        raise DataError(
            f"{samples} training samples cannot give each of {clients} clients the minimum of "
            f"{minimum}. Raise data.train-samples to {clients * minimum} or more, lower "
            "data.min-samples, or use fewer clients."
        )
    generator = np.random.default_rng(seed)
    order = generator.permutation(samples)
    for _ in range(_MOST_DRAWS):
        sizes = _round_to_sum(generator.dirichlet(np.full(clients, beta)), samples)
        if sizes.min() >= minimum:
            return tuple(np.sort(part) for part in np.split(order, np.cumsum(sizes)[:-1]))
    raise DataError(
        f"beta = {beta} hardly ever gives each of {clients} clients {minimum} of {samples} "
        f"samples ({_MOST_DRAWS} draws failed). Raise beta, lower data.min-samples, or raise "
        "data.train-samples."
    )


def _round_to_sum(weights: NDArray[np.float64], total: int) -> Shard:
    """Whole numbers that sum to ``total``, by the largest remainders."""
    exact = weights / weights.sum() * total
    sizes: Shard = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(sizes - exact, kind="stable")
    sizes[by_remainder[: total - sizes.sum()]] += 1
    return sizes
