"""What local fine-tuning gives; apart from the loop, since who only reads it needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from fcit_app.arrays import Arrays


@dataclass(frozen=True, eq=False)
class FitResult:
    """What a client's fine-tuning gives.

    Parameters
    ----------
    arrays : Arrays
        Trained parameters by wire name, the same names as were given.
    losses : tuple[float, ...]
        Mean loss per answer token of each step's samples, before that step; without a proximal
        term or a method's penalty.
    """

    arrays: Arrays
    losses: tuple[float, ...]

    @property
    def steps(self) -> int:
        """Optimiser steps taken."""
        return len(self.losses)

    @property
    def loss_first(self) -> float:
        """Loss of the first step."""
        return self.losses[0]

    @property
    def loss_last(self) -> float:
        """Loss of the last step."""
        return self.losses[-1]
