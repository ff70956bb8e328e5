"""A Flower mod: what training changed leaves the client shortened, and with noise on it.

Flower has one of the kind, ``LocalDpMod``. It takes messages of one ArrayRecord only, where an
adapter and a shared projector are two; it draws from NumPy's global generator; and its noise is
that of a formula which holds for epsilon below 1 alone (docs/privacy.md).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from fcit_app.arrays import Array as Values
from fcit_app.config import parse
from fcit_app.identity.privacy import deviation

Place = tuple[str, str]
"""Name of a record, and of an array in it."""


def private(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Let a client train, and send back a change of bounded norm with Gaussian noise.

    All that comes back counts as one vector: adapter and projector share one bound. What is hidden
    is a client's data as a whole: whatever samples it trained on, its change is no longer than
    ``privacy.update-clip``, so that other samples move it by at most twice that, and the noise has
    standard deviation ``2 * update-clip * update-noise``. It is never seeded (see
    ``fcit_app.identity.privacy``). Loss, seconds and numbers of examples beside the arrays are sent
    as they are and not covered.
    """
    settings = parse(context.run_config).privacy
    reply = call_next(message, context)
    if settings.update_clip == 0.0 or reply.has_error():
        return reply
    trained = reply.content.array_records
    start = {
        (name, key): array.numpy()
        for name, record in message.content.array_records.items()
        for key, array in record.items()
        if name in trained
    }
    change = {key: trained[key[0]][key[1]].numpy() - value for key, value in start.items()}
    hidden = hide(change, settings.update_clip, settings.update_noise)
    records = {
        name: ArrayRecord({key: Array(start[name, key] + hidden[name, key]) for key in record})
        for name, record in trained.items()
    }
    noised = copy.copy(reply)
    noised.content = RecordDict({**reply.content, **records})
    return noised


def hide(
    change: Mapping[Place, Values],
    clip: float,
    noise: float,
    generator: np.random.Generator | None = None,
) -> dict[Place, Values]:
    """Shorten arrays together to a norm, and add Gaussian noise to each of their numbers.

    Parameters
    ----------
    change : Mapping
        Record and name to float32 array.
    clip : float
        Largest L2 norm of all together, above 0.
    noise : float
        Standard deviation over ``2 clip``.
    generator : numpy.random.Generator, optional
        For tests; noise that protects anybody is drawn by a fresh one.
    """
    generator = generator or np.random.default_rng()
    squares = sum(float(np.square(part, dtype=np.float64).sum()) for part in change.values())
    factor = clip / max(math.sqrt(squares), clip)
    found = {}
    for name, part in change.items():
        drawn = generator.normal(0.0, deviation(clip, noise), part.shape)
        found[name] = (part * factor + drawn).astype(np.float32)
    return found
