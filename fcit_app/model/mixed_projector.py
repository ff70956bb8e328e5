"""Projectors of several subspaces as one: the weighted sum of what each makes of a picture."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fcit_app.arrays import Arrays


def projector_weights(weights: Tensor) -> Tensor:
    """Weights of the projectors from those of the adapters: none negative, with sum 1.

    Adapters add to the base's layers and may do so in any strength; a projector replaces the base's
    and the language model only knows pictures of the usual size. Softmax and argmax already give
    such weights, to rounding. Of ``cosine`` negative weights count as 0 and the rest is scaled to
    sum 1; ``concat`` gives the plain mean, as do rows without a positive weight.

    Parameters
    ----------
    weights : Tensor
        Any real numbers, shape (batch, subspaces).

    Returns
    -------
    Tensor
        Same shape.
    """
    positive = weights.clamp(min=0)
    sums = positive.sum(dim=1, keepdim=True)
    return torch.where(sums > 0, positive / sums, 1.0 / weights.shape[1])


class MixedProjector(nn.Module):
    """Stands in for the base's projector while a bank is installed.

    Parameters
    ----------
    projectors : Sequence[nn.Module]
        One a subspace.
    """

    def __init__(self, projectors: Sequence[nn.Module]) -> None:
        super().__init__()
        self._projectors = nn.ModuleList(projectors)
        self._weights: Tensor | None = None

    def set(self, weights: Tensor | None) -> None:
        """Set the adapters' weights of shape (batch, subspaces), or clear them with None."""
        self._weights = None if weights is None else projector_weights(weights)

    def forward(self, vision: Tensor) -> Tensor:
        """Project pictures (batch, image tokens, vision width), row i with ``weights[i]``."""
        if self._weights is None:
            raise RuntimeError("the mixed projector is installed, but no weights are set")
        if len(vision) != len(self._weights):
            raise RuntimeError(f"{len(self._weights)} weights do not fit {len(vision)} pictures")
        used = self._weights.any(dim=0).tolist()
        parts = [
            self._weights[:, number, None, None] * projector(vision)
            for number, projector in enumerate(self._projectors)
            if used[number]
        ]
        return torch.stack(parts).sum(dim=0)


@contextmanager
def mixed_projector(model: Any, projectors: Sequence[Arrays]) -> Iterator[MixedProjector]:
    """Put the mixture in the place of a LLaVA's projector, and that one back on exit.

    Parameters
    ----------
    model : LlavaForConditionalGeneration
        Its projector gives architecture and device.
    projectors : Sequence[Arrays]
        Numbers of each subspace's projector, by the parameters' names inside the projector.
    """
    own: nn.Module = model.model.multi_modal_projector
    copies = []
    for arrays in projectors:
        projector = copy.deepcopy(own).requires_grad_(False)
        projector.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
        copies.append(projector)
    model.model.multi_modal_projector = MixedProjector(copies)
    try:
        yield model.model.multi_modal_projector
    finally:
        model.model.multi_modal_projector = own
