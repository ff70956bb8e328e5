"""What keeps a client's identity token from telling of its single samples.

A token is a sum of features and their number. Without noise it tells what the samples are about on
average, and of a single sample the more the fewer there are. Three rules, each by itself:

``identity.min-samples``
    No token, and no prototype, of fewer samples leaves a client. A floor, not a guarantee.
``identity.clip``
    No feature is longer than this (L2), so that no sample weighs more than others.
``identity.noise``
    The Gaussian mechanism, on the client, before anything is sent.

**What is protected**: one sample of a client's lesson, replaced by any other one ("replace-one",
bounded differential privacy). The number of samples is public: it is the weight of a client's work
in every aggregate, and goes out with each trained adapter too. Add-or-remove would need noise on
that number. Replacing one sample moves the sum of clipped features by at most ``2 clip``, so the
noise has standard deviation ``noise * 2 * clip`` in each of the d dimensions and ``identity.noise``
is the noise multiplier of ``fcit_app.identity.accountant``. On the mean of n samples that is ``1 /
n`` of it: who has more samples hides each of them at a smaller price. (Features without negative
parts, such as hashed words, could only move it by ``√2 clip``; nothing is made of that.)

**The noise is never seeded.** Whoever knows the seed takes the noise away again, and the server
knows the whole configuration. A run with noise can therefore not be repeated to the bit. The noise
is drawn from NumPy's PCG64, seeded by the system's entropy: no cryptographic generator; and sums in
floating point may leave traces in their lowest bits (Mironov 2012). Against a server that exploits
either of the two, more is needed than this.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fcit_app.errors import DataError
from fcit_app.identity.tokens import IdentityToken


def check_enough(samples: int, least: int, client: str) -> None:
    """Refuse to make a token of too few samples.

    Parameters
    ----------
    samples : int
        How many the client holds of its lesson.
    least : int
        ``identity.min-samples``.
    client : str
        Its name.

    Raises
    ------
    DataError
        If there are fewer; without their number, for that is what the refusal keeps.
    """
    if samples < least:
        raise DataError(
            f"{client} gives no identity token: it holds fewer samples of its lesson than "
            f"identity.min-samples = {least}. Lower that, or let the client take part in lessons "
            "of which it has more."
        )


def clipped(features: ArrayLike, clip: float) -> NDArray[np.float64]:
    """Shorten the features that are longer than ``clip``.

    Parameters
    ----------
    features : array_like
        (n, d).
    clip : float
        Largest L2 norm of a row; 0 leaves all as they are.

    Returns
    -------
    numpy.ndarray
        (n, d) float64.
    """
    matrix = np.asarray(features, dtype=np.float64)
    if clip == 0.0:
        return matrix
    lengths = np.linalg.norm(matrix, axis=-1, keepdims=True)
    shortened: NDArray[np.float64] = matrix * (clip / np.maximum(lengths, clip))
    return shortened


def deviation(clip: float, noise: float) -> float:
    """Give the standard deviation of noise on what two bounded vectors can differ by."""
    return noise * 2.0 * clip


def noised(
    token: IdentityToken, sigma: float, generator: np.random.Generator | None = None
) -> IdentityToken:
    """Add Gaussian noise to a token's sum.

    Parameters
    ----------
    token : IdentityToken
        Of clipped features, without prototypes: how samples divide into clusters can change as a
        whole with one of them, so no noise of this size hides it.
    sigma : float
        See ``deviation``.
    generator : numpy.random.Generator, optional
        For tests and measurements; noise that protects anybody is drawn by a fresh one.

    Raises
    ------
    DataError
        If the token has prototypes.
    """
    if token.prototypes:
        raise DataError("A token with prototypes cannot be noised; set identity.prototypes = 0.")
    generator = generator or np.random.default_rng()
    drawn = generator.normal(0.0, sigma, token.total.shape)
    return replace(token, total=(token.total + drawn).astype(np.float32))
