"""Identity tokens: a sum of features and how many samples it was summed over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fcit_app.arrays import Array
from fcit_app.errors import DataError

LARGEST_COUNT = 2**53
"""More samples than this in one token are a mistake, and sums of counts stay far inside int64."""

_ROUNDING = 1e-4
"""What float32 sums of many merges may be off, relative to the sums' own sizes."""


@dataclass(frozen=True, eq=False)
class IdentityToken:
    """Frozen-encoder features of a client's (or subspace's) instructions, summed.

    Kept as sum and count, never as a running mean in low precision: merging is then exact in the
    counts and the same whatever the split (DISCO, dynamic knowledge organisation).

    Parameters
    ----------
    total : numpy.ndarray
        (d,) float32, sum of the features of `count` instructions; copied and made read-only.
    count : int
        Number of instructions, at least 1.
    prototypes : tuple[IdentityToken, ...]
        The same samples in clusters, see `fcit_app.identity.prototypes`; empty in the paper. They
        serve routing alone: a token is merged, and matched, by its own total.
    """

    total: Array
    count: int
    prototypes: tuple[IdentityToken, ...] = ()

    def __post_init__(self) -> None:
        """Own the numbers, as float32."""
        total = _float32(self.total)
        total.setflags(write=False)
        object.__setattr__(self, "total", total)

    @property
    def mean(self) -> Array:
        """The token as a vector: (d,) float32 mean feature."""
        mean: Array = (self.total.astype(np.float64) / self.count).astype(np.float32)
        return mean

    @property
    def routes(self) -> tuple[IdentityToken, ...]:
        """What questions are compared with: the prototypes, the token itself if it has none."""
        return self.prototypes or (self,)

    @classmethod
    def of(cls, features: ArrayLike) -> IdentityToken:
        """Token of one client's features.

        Parameters
        ----------
        features : array_like
            (n, d) features of n >= 1 instructions.

        Raises
        ------
        DataError
            If there is no instruction, or the features are not a finite (n, d) matrix.
        """
        matrix = np.asarray(features, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[0] < 1:
            raise DataError(
                f"An identity token needs a (samples, features) matrix with at least one sample, "
                f"not one of shape {matrix.shape}."
            )
        token = cls(_float32(matrix.sum(axis=0)), matrix.shape[0])
        token.validate()
        return token

    @classmethod
    def pooled(cls, tokens: Iterable[IdentityToken]) -> IdentityToken:
        """One token of all the samples of several tokens: `Σ n μ / Σ n` with one rounding.

        It has no prototypes: `fcit_app.identity.prototypes.pooled` merges those as well.

        Parameters
        ----------
        tokens : Iterable[IdentityToken]
            At least one token; all of one width. Summed in the order given.

        Raises
        ------
        DataError
            If there is no token or the widths differ.
        """
        parts = list(tokens)
        shapes = {part.total.shape for part in parts}
        if len(shapes) != 1:
            raise DataError(f"Only tokens of one width can be merged, not {sorted(shapes)}.")
        total = np.zeros(shapes.pop(), dtype=np.float64)
        for part in parts:
            total += part.total
        return cls(_float32(total), sum(part.count for part in parts))

    def merge(self, other: IdentityToken) -> IdentityToken:
        """Token of both tokens' samples; raises `DataError` if the widths differ."""
        return IdentityToken.pooled((self, other))

    def validate(self, dimension: int | None = None) -> None:
        """Check that the token can be compared and merged.

        Parameters
        ----------
        dimension : int, optional
            Width d that the token must have; any if None.

        Raises
        ------
        DataError
            If the total is not a finite (d,) vector, the count is no whole number of 1 or more, or
            the prototypes are no division of the same samples.
        """
        whole = isinstance(self.count, int) and not isinstance(self.count, bool)
        if not whole or not 1 <= self.count <= LARGEST_COUNT:
            raise DataError(f"A token's sample count must be 1 or more, not {self.count!r}.")
        if self.total.ndim != 1 or self.total.size == 0:
            raise DataError(f"A token must be one vector, not of shape {self.total.shape}.")
        if dimension is not None and self.total.size != dimension:
            raise DataError(
                f"The token has {self.total.size} features where the others have {dimension}; "
                "all clients must use the same identity.encoder and identity.token."
            )
        if not np.isfinite(self.total).all():
            raise DataError("The token holds values that are not finite.")
        self._validate_prototypes()

    def _validate_prototypes(self) -> None:
        if not self.prototypes:
            return
        for part in self.prototypes:
            part.validate(self.total.size)
        counts = sum(part.count for part in self.prototypes)
        if counts != self.count:
            raise DataError(f"The prototypes' counts add up to {counts}, not to {self.count}.")
        totals = np.stack([part.total for part in self.prototypes]).astype(np.float64)
        rest = float(np.linalg.norm(totals.sum(axis=0) - self.total))
        if rest > _ROUNDING * float(np.linalg.norm(totals, axis=1).sum()):
            raise DataError(f"The prototypes' totals miss the token's by a norm of {rest:.3g}.")


def cosine(a: ArrayLike, b: ArrayLike) -> float:
    """Cosine similarity of two (d,) vectors, in float64; 0 if either is the zero vector."""
    return float(cosine_matrix(np.atleast_2d(a), np.atleast_2d(b))[0, 0])


def cosine_matrix(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """All cosine similarities between two sets of vectors.

    Parameters
    ----------
    a, b : array_like
        (n, d) and (m, d) vectors.

    Returns
    -------
    numpy.ndarray
        (n, m) float64. Rows and columns of zero vectors are 0. Each entry depends on its own two
        vectors only, to the bit, and `cosine_matrix(a, b) == cosine_matrix(b, a).T`.

    Raises
    ------
    DataError
        If the widths differ or an argument is not a matrix.
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise DataError(f"Vectors of shapes {left.shape} and {right.shape} cannot be compared.")
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    left_squares, right_squares = (left * left).sum(axis=1), (right * right).sum(axis=1)
    similarity = np.zeros((len(left), len(right)), dtype=np.float64)
    # Row by row and not one matrix product: BLAS may round an entry differently when its neighbours
    # change, and then the order of clients could decide which side of tau a client falls on.
    for row, vector in enumerate(left):
        dots = (right * vector).sum(axis=1)
        # One root of the product makes a vector's cosine with itself exactly 1.
        norms = np.sqrt(right_squares * left_squares[row])
        np.divide(dots, norms, out=similarity[row], where=norms > 0)
    return np.clip(similarity, -1.0, 1.0)


def _float32(values: ArrayLike) -> Array:
    """Copy as float32; what is too large becomes inf without a warning, for `validate` to name."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array(values, dtype=np.float32)
