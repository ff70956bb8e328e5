"""What a method may add to the loss of local training; nothing by default."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fcit_app.data.sample import Sample


class Objective:
    """Plain fine-tuning: the loss on the answers' tokens and nothing else."""

    def see(self, samples: Sequence[Sample]) -> None:
        """Take note of a batch's samples before the model sees them."""

    def penalty(self) -> Tensor | None:
        """Scalar that is added to the loss of the batch last seen; None adds nothing."""
        return None


PLAIN = Objective()
"""Plain fine-tuning."""
