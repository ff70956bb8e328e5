"""MoELoRA: LoRA experts with a learned router on each layer's input, one adapter for all stages.

CoIN (Chen et al. 2024), section 4, after Luo et al. 2024: ``y = W x + s * sum_i g_i(x) B_i A_i x``
with ``g = softmax(R x)`` for each token. All experts take part (no top-k) and no balancing loss is
added, as in CoIN. The router sees what the experts see, so behind LoRA's dropout. Each expert has
rank ``train.rank``, that of one of DISCO's subspaces, so that the number of experts is comparable
with DISCO's number of subspaces. The router starts at 0: all experts weigh alike, and one expert is
plain LoRA.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import Parameter, functional

from fcit_app.arrays import Arrays
from fcit_app.methods.base import Method
from fcit_app.model.adapters import is_adapter, is_lora, wrap
from fcit_app.model.base import BaseModel
from fcit_app.model.gated import GatedParts, LoraGate


class Router(LoraGate):
    """Softmax of a linear map of each token's input."""

    def __init__(self, parts: int, width: int) -> None:
        super().__init__(parts, width)
        self.weight = nn.Parameter(torch.zeros(parts, width))

    def weights(self, inputs: Tensor) -> Tensor:
        """Shape (batch, length, experts)."""
        return functional.linear(inputs, self.weight).softmax(dim=-1)


class MoeLora(Method):
    """``moelora.experts`` LoRA experts a layer."""

    def wrap(self, base: BaseModel) -> PeftModel:
        """One LoRA of all experts' rank, with a router."""
        train, experts = self.config.train, self.config.moelora.experts
        extension = GatedParts(Router, experts)
        rank = train.rank * experts
        return wrap(base, rank, train.scaling, train.dropout, extension, train.lora_targets)

    def initial(self, handles: Mapping[str, Parameter], seed: int) -> Arrays:
        """Draw A as for plain LoRA; B and the routers are 0."""
        arrays = super().initial(handles, seed)
        routers = [name for name in handles if is_adapter(name) and not is_lora(name)]
        return arrays | {name: np.zeros(tuple(handles[name].shape), np.float32) for name in routers}
