"""Who takes part in a round, and in which slot."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from fcit_app.data.partition import seed_of


def draw_slots(
    clients: Collection[int],
    count: int,
    seed: int,
    stage: int,
    server_round: int,
    attempt: int = 0,
) -> tuple[int, ...]:
    """Draw a round's participants without replacement, each with its slot.

    A function of its arguments alone: no generator's state has to be kept between rounds, and the
    order in which clients connected makes no difference. Any client is as likely in any slot.

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
    attempt : int
        Counts from 0; each attempt at a round has a draw of its own.

    Returns
    -------
    tuple[int, ...]
        Client ids by slot, in the order drawn.
    """
    again = ("attempt", attempt) if attempt else ()
    generator = np.random.default_rng(seed_of(seed, "participants", stage, server_round, *again))
    drawn = generator.choice(np.array(sorted(clients)), size=count, replace=False)
    return tuple(int(client) for client in drawn)


def official_slots(
    clients: Collection[int], count: int, stage: int, server_round: int
) -> tuple[int, ...]:
    """Draw a round's participants as the official FCIT code does, whatever the run's seed.

    ``np.random.seed(10 * (stage - 1) + round)`` with rounds from 0, then the set of
    ``np.random.choice(np.arange(clients), count, replace=False)``, in CPython's order of a set of
    ``np.int64``, which is the slot order. From the eleventh round on a stage repeats the next one's
    draws, as it does there.

    Parameters
    ----------
    clients : Collection[int]
        Stable ids of the clients at hand; their ascending positions are drawn.
    count : int
        How many take part; at most ``len(clients)``.
    stage, server_round : int
        Count from 1.

    Returns
    -------
    tuple[int, ...]
        Client ids by slot.
    """
    generator = np.random.RandomState(10 * (stage - 1) + server_round - 1)
    drawn = generator.choice(np.arange(len(clients)), count, replace=False)
    # The order in which CPython walks this set is what is meant.
    ordered = sorted(clients)
    return tuple(ordered[position] for position in set(drawn))
