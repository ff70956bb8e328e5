"""Prototypes: a client's samples in a few clusters, so that unlike tasks keep tokens of their own.

In a capability stage a client's identity token is the mean over several unlike tasks and near none
of them; a question may then be nearer to a stranger's token than to its own (docs/twelve.md).
Prototypes break a token down into the means of clusters. They are no part of DISCO: matching goes
by the tokens as in the paper, only routing looks at the best prototype of each subspace.

They tell the server more than the token does: means over fewer samples, and by their counts how a
client's samples divide. No mean of fewer samples than `SMALLEST_CLUSTER` (or `identity.min-samples`
if that is more) is sent unless the client holds fewer in all; that is a floor, not a guarantee as
of differential privacy, and with `identity.noise` there are no prototypes
(`fcit_app.identity.privacy`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fcit_app.identity.matching import match
from fcit_app.identity.tokens import IdentityToken, cosine_matrix

SMALLEST_CLUSTER = 8
"""Fewest samples of a cluster; a client that holds fewer sends one prototype, its token."""

SMALLEST_SHARE = 0.05
"""Smallest share of a client's samples that makes a cluster."""

LARGEST_NUMBER = 64
"""Most prototypes a client may ever be asked for (`identity.prototypes`)."""

SUBSPACE_FACTOR = 2
"""A subspace keeps at most this many times the prototypes that one client may send."""

_LARGEST_ROUNDS = 50


def with_prototypes(
    features: ArrayLike, most: int, smallest: int = SMALLEST_CLUSTER
) -> IdentityToken:
    """Token of one client's features, with the prototypes of its clusters.

    Spherical k-means (Dhillon and Modha 2001): a sample belongs to the cluster whose mean has the
    highest cosine with it. The centres start at the feature nearest the mean, then always at the
    one farthest from those chosen; nothing is drawn. A cluster smaller than `SMALLEST_CLUSTER` or
    `smallest` samples or `SMALLEST_SHARE` of them is given up, the smallest first, and its samples
    go to the nearest of the others. The clusters divide the samples among them, so the prototypes'
    counts add up to the token's, and so do their totals, to rounding.

    Parameters
    ----------
    features : array_like
        (n, d) features of n >= 1 samples.
    most : int
        Most clusters; 0 for the token without prototypes.
    smallest : int
        Fewest samples of a cluster, if that is more than `SMALLEST_CLUSTER`
        (`identity.min-samples`).

    Raises
    ------
    DataError
        See `IdentityToken.of`.
    """
    token = IdentityToken.of(features)
    if most == 0:
        return token
    matrix = np.asarray(features, dtype=np.float64)
    fewest = max(SMALLEST_CLUSTER, smallest, SMALLEST_SHARE * len(matrix))
    belongs = _clusters(matrix, _first_centres(matrix, most))
    while True:
        sizes = np.bincount(belongs)
        if len(sizes) == 1 or sizes.min() >= fewest:
            break
        kept = np.delete(_sums(matrix, belongs), int(sizes.argmin()), axis=0)
        belongs = _clusters(matrix, kept)
    parts = tuple(IdentityToken.of(matrix[belongs == part]) for part in range(len(sizes)))
    return replace(token, prototypes=parts)


def pooled(
    known: IdentityToken | None, new: Sequence[IdentityToken], tau: float, most: int
) -> IdentityToken:
    """One token of all the samples of several, with their prototypes merged.

    The token is `IdentityToken.pooled`'s. The new tokens' prototypes are matched with the known
    one's, all at once (`fcit_app.identity.matching.match`): cosine >= tau joins the most similar,
    the rest are grouped among themselves. If that leaves more than `most`, the two most similar are
    merged until it does not. No sample is lost: the counts add up to the token's.

    Parameters
    ----------
    known : IdentityToken or None
        A subspace's token; None for a new subspace.
    new : Sequence[IdentityToken]
        Tokens of clients; one without prototypes counts as its own only one. Their order plays no
        part but in the rounding of sums and in the order of the prototypes.
    tau : float
        Smallest cosine of two prototypes that are one, in (0, 1].
    most : int
        Most prototypes of the outcome; 0 for none.

    Raises
    ------
    DataError
        If there is no token at all, or the widths differ.
    """
    token = IdentityToken.pooled([*([known] if known else []), *new])
    if most == 0:
        return token
    parts = list(known.routes) if known else []
    others = dict(enumerate(part for other in new for part in other.routes))
    matching = match(parts, others, tau)
    for number, place in sorted(matching.joined.items()):
        parts[place] = parts[place].merge(others[number])
    parts += [IdentityToken.pooled(others[number] for number in group) for group in matching.opened]
    while len(parts) > most:
        first, second = _nearest_pair(parts)
        parts[first] = parts[first].merge(parts.pop(second))
    return replace(token, prototypes=tuple(parts))


def _nearest_pair(tokens: Iterable[IdentityToken]) -> tuple[int, int]:
    """Positions, ascending, of the two most similar tokens; the first ones on a tie."""
    vectors = np.stack([token.total for token in tokens])
    similarity = cosine_matrix(vectors, vectors)
    similarity[np.tril_indices(len(vectors))] = -np.inf
    first, second = np.unravel_index(int(similarity.argmax()), similarity.shape)
    return int(first), int(second)


def _first_centres(features: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Start from features far from each other: at most `most`, and no two alike."""
    mean = features.sum(axis=0, keepdims=True)
    chosen = [int(cosine_matrix(mean, features)[0].argmax())]
    nearness = cosine_matrix(features[chosen], features)[0]
    while len(chosen) < min(most, len(features)):
        farthest = int(nearness.argmin())
        if nearness[farthest] >= 1.0 - 1e-9:
            break
        chosen.append(farthest)
        nearness = np.maximum(nearness, cosine_matrix(features[[farthest]], features)[0])
    return features[chosen]


def _clusters(features: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    """Cluster of each feature, (n,), numbered without gaps in the order of the centres."""
    belongs = np.full(len(features), -1)
    for _ in range(_LARGEST_ROUNDS):
        nearest = cosine_matrix(centres, features).argmax(axis=0)
        _, nearest = np.unique(
            nearest, return_inverse=True
        )  # a centre may have lost all of its own
        if np.array_equal(nearest, belongs):
            break
        belongs = nearest
        centres = _sums(features, belongs)
    return belongs


def _sums(features: NDArray[np.float64], belongs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of each cluster's features, (clusters, d): its direction is the mean's."""
    sums = np.zeros((int(belongs.max()) + 1, features.shape[1]))
    np.add.at(sums, belongs, features)
    return sums
