"""Features in fewer dimensions: noise on a token is as long as the root of their number.

A random projection keeps cosines to within about ``1 / √k`` (Johnson and Lindenstrauss 1984) and
looks at no data, so it costs no privacy. What is won: noise of the same ε is ``√(d / k)`` times
shorter beside the token. Projection and noise go well together; without noise it only loses.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sklearn.random_projection import GaussianRandomProjection

from fcit_app.arrays import Array

_SEED = 0
"""The same for server, clients and runs: a bank's tokens and any question have to fit together."""


@lru_cache(maxsize=4)
def directions(width: int, dimension: int) -> NDArray[np.float64]:
    """Directions that features are measured along: (dimension, width), read-only."""
    projection = GaussianRandomProjection(dimension, random_state=_SEED)
    found: NDArray[np.float64] = projection.fit(np.zeros((1, width))).components_
    found.setflags(write=False)
    return found


def reduced(features: Array, dimension: int) -> Array:
    """Bring features to fewer dimensions.

    Parameters
    ----------
    features : numpy.ndarray
        (n, d) float32.
    dimension : int
        k, at least 1.

    Returns
    -------
    numpy.ndarray
        (n, k) float32; lengths are kept on average, too. Each row depends on its own row alone, to
        the bit.
    """
    along = directions(features.shape[1], dimension)
    # No matrix product: BLAS may round a row differently when there are others beside it.
    found: Array = np.einsum("nd,kd->nk", features.astype(np.float64), along).astype(np.float32)
    return found
