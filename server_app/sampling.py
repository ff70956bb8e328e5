"""Who takes part in a round."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from fcit_app.data.partition import seed_of


def draw_participants(
    clients: Collection[int], count: int, seed: int, stage: int, server_round: int
) -> tuple[int, ...]:
    """Draw a round's participants without replacement.

    A function of its arguments alone: no generator's state has to be kept between rounds, and the
    order in which clients connected makes no difference.

    Parameters
    ----------
    clients : Collection[int]
        Stable ids of the clients at hand.
    count : int
        How many take part; at most ``len(clients)``.
    seed : int
        The run's seed.
    stage, server_round : int
        Count from 1.

    Returns
    -------
    tuple[int, ...]
        Ascending client ids.
    """
    generator = np.random.default_rng(seed_of(seed, "participants", stage, server_round))
    drawn = generator.choice(np.array(sorted(clients)), size=count, replace=False)
    return tuple(sorted(int(client) for client in drawn))
