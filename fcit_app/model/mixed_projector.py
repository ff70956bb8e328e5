"""Several projectors as one: the weighted sum of what each makes of a picture."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
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


def open_world_weights(weights: Tensor, shared: bool) -> Tensor:
    """Weights of the trained projectors, then of the base's: it alone where no adapter speaks.

    Parameters
    ----------
    weights : Tensor
        Of the adapters, shape (batch, subspaces); all 0 for a question of none of the tasks.
    shared : bool
        Whether there is one trained projector, or one a subspace (``projector_weights``).

    Returns
    -------
    Tensor
        Shape (batch, trained projectors + 1).
    """
    base = ~weights.any(dim=1, keepdim=True)
    trained = torch.ones_like(weights[:, :1]) if shared else projector_weights(weights)
    return torch.cat([trained.masked_fill(base, 0.0), base.to(trained)], dim=1)


class MixedProjector(nn.Module):
    """Stands in for the base's projector while a bank is installed.

    Parameters
    ----------
    projectors : Sequence[nn.Module]
        Those that are mixed.
    mixture : Callable[[Tensor], Tensor], optional
        From the adapters' weights to the projectors', shape (batch, projectors).
    """

    def __init__(
        self,
        projectors: Sequence[nn.Module],
        mixture: Callable[[Tensor], Tensor] = projector_weights,
    ) -> None:
        super().__init__()
        self._projectors = nn.ModuleList(projectors)
        self._mixture = mixture
        self._weights: Tensor | None = None

    def set(self, weights: Tensor | None) -> None:
        """Set the adapters' weights of shape (batch, subspaces), or clear them with None."""
        self._weights = None if weights is None else self._mixture(weights)

    def forward(self, vision: Tensor, pieces: Tensor | None = None) -> Tensor:
        """Project a batch's pictures, row i with ``weights[i]``.

        Parameters
        ----------
        vision : Tensor
            Pictures (batch, image tokens, vision width), or the pieces of all of them.
        pieces : Tensor, optional
            How many of the projected rows belong to each row of the batch, shape (batch,): 0 of
            one without a picture; one if None.
        """
        if self._weights is None:
            raise RuntimeError("the mixed projector is installed, but no weights are set")
        given = len(vision) if pieces is None else len(pieces)
        if given != len(self._weights):
            raise RuntimeError(f"{len(self._weights)} weights do not fit {given} pictures")
        weights = self._weights
        if pieces is not None:
            weights = weights.repeat_interleave(pieces, dim=0)
        used = weights.any(dim=0).tolist()
        parts = []
        for number, projector in enumerate(self._projectors):
            if used[number]:
                projected = projector(vision)
                # one weight a row, whatever the rows' shape
                shape = (-1, *[1] * (projected.dim() - 1))
                parts.append(weights[:, number].reshape(shape) * projected)
        return torch.stack(parts).sum(dim=0)


@contextmanager
def mixed_projector(
    model: Any,
    path: str,
    projectors: Sequence[Arrays],
    mixture: Callable[[Tensor], Tensor] = projector_weights,
) -> Iterator[MixedProjector]:
    """Put the mixture in the place of a model's projector, and that one back on exit.

    Parameters
    ----------
    model : PreTrainedModel
        Its projector gives architecture and device.
    path : str
        Name of the projector's module.
    projectors : Sequence[Arrays]
        Numbers of each projector, by the parameters' names inside the projector.
    mixture : Callable[[Tensor], Tensor], optional
        See ``MixedProjector``.
    """
    own: nn.Module = model.get_submodule(path)
    copies = []
    for arrays in projectors:
        projector = copy.deepcopy(own).requires_grad_(False)
        projector.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
        copies.append(projector)
    mixed = MixedProjector(copies, mixture)
    model.set_submodule(path, mixed)
    try:
        yield mixed
    finally:
        model.set_submodule(path, own)
