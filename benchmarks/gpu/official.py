"""How the released code of DISCO answers with several subspaces, rebuilt small and faithfully.

In evaluation each feed-forward layer makes, in every forward pass and so at every token, two new
``nn.Linear`` of all subspaces' matrices one after the other (drawn at random, then overwritten),
and between them a square matrix whose diagonal blocks are the subspaces' weights times the
identity; a weight of exactly 0 leaves its block as it was. One set of weights holds for the whole
batch. (Official code, ``CoIN/peft/tuners/coinmoelora.py``, as described in our notes; nothing of it
is copied.) To its advantage the new layers are made on the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from fcit_app.arrays import Arrays


class OfficialLinear(nn.Module):
    """A frozen linear layer with the subspaces beside it.

    Parameters
    ----------
    frozen : nn.Linear
        The base's layer.
    below, above : Sequence[Tensor]
        A and B of each subspace, shapes (rank, in) and (out, rank).
    weights : Sequence[float]
        Of each subspace.
    scaling : float
        Factor on the subspaces' sum.
    """

    def __init__(
        self,
        frozen: nn.Linear,
        below: Sequence[Tensor],
        above: Sequence[Tensor],
        weights: Sequence[float],
        scaling: float,
    ) -> None:
        super().__init__()
        self.frozen = frozen
        self.below = nn.ParameterList(nn.Parameter(part, False) for part in below)
        self.above = nn.ParameterList(nn.Parameter(part, False) for part in above)
        self.rank = below[0].shape[0]
        rank = self.rank * len(below)
        self.between = nn.Linear(rank, rank, bias=False, **_like(frozen))
        self.between.weight.requires_grad_(False).zero_()
        self.weights = list(weights)
        self.scaling = scaling

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the layer."""
        like = _like(self.frozen)
        rank = self.rank * len(self.weights)
        below = nn.Linear(self.frozen.in_features, rank, bias=False, **like)
        above = nn.Linear(rank, self.frozen.out_features, bias=False, **like)
        with torch.no_grad():
            below.weight.copy_(torch.cat(list(self.below), dim=0))
            above.weight.copy_(torch.cat(list(self.above), dim=1))
            for place, weight in enumerate(self.weights):
                if weight != 0:
                    block = slice(place * self.rank, (place + 1) * self.rank)
                    self.between.weight[block, block] = torch.eye(self.rank, **like) * weight
        added: Tensor = above(self.between(below(inputs)))
        result: Tensor = self.frozen(inputs) + added * self.scaling
        return result


@contextmanager
def official_layers(
    model: PeftModel, adapters: Sequence[Arrays], weights: Sequence[float], scaling: float
) -> Iterator[None]:
    """Let a wrapped model's feed-forward layers work the official way.

    Parameters
    ----------
    model : PeftModel
        From ``fcit_app.model.adapters.wrap``; its LoRA layers are put back afterwards.
    adapters : Sequence[Arrays]
        Of each subspace, by wire name.
    weights : Sequence[float]
        Of each subspace.
    scaling : float
        See ``OfficialLinear``.
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, LoraLayer)}
    try:
        for name, layer in layers.items():
            frozen = layer.get_base_layer()
            below, above = (
                [
                    torch.from_numpy(arrays[f"{name}.lora_{part}.weight"]).to(frozen.weight)
                    for arrays in adapters
                ]
                for part in ("A", "B")
            )
            model.set_submodule(name, OfficialLinear(frozen, below, above, weights, scaling))
        yield
    finally:
        for name, layer in layers.items():
            model.set_submodule(name, layer)


def _like(layer: nn.Linear) -> dict[str, object]:
    return {"device": layer.weight.device, "dtype": layer.weight.dtype}
