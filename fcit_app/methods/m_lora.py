"""M-LoRA: parallel LoRA parts with learned scales, one adapter for all stages.

FCIT does not say what its row M-LoRA stands for; we take MultiLoRA (Wang et al. 2023, arXiv
2311.11501), section 3: ``y = W x + s * sum_i a_i B_i A_i x`` with Kaiming-drawn A and B, so that
parts do not share a few directions, and learned scales a_i that start at 0, so that training starts
from the base. Ours has one scale for each part and layer; each part has rank ``train.rank``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import Parameter

from fcit_app.arrays import Array, Arrays
from fcit_app.methods.base import Method
from fcit_app.model.adapters import is_adapter, wrap
from fcit_app.model.base import BaseModel
from fcit_app.model.gated import GatedParts, LoraGate


class PartScales(LoraGate):
    """One learned number for each part, whatever the input."""

    def __init__(self, parts: int, width: int) -> None:
        super().__init__(parts, width)
        self.scales = nn.Parameter(torch.zeros(parts))

    def weights(self, inputs: Tensor) -> Tensor:
        """Shape (parts,)."""
        return self.scales


class MultiLora(Method):
    """``m-lora.parts`` parallel LoRA parts a layer."""

    def wrap(self, base: BaseModel) -> PeftModel:
        """One LoRA of all parts' rank, with scales."""
        train, parts = self.config.train, self.config.m_lora.parts
        extension = GatedParts(PartScales, parts)
        rank = train.rank * parts
        return wrap(base, rank, train.scaling, train.dropout, extension, train.lora_targets)

    def initial(self, handles: Mapping[str, Parameter], seed: int) -> Arrays:
        """Draw A and B, Kaiming-uniform with a = sqrt(5) as PEFT's A: up to 1 / sqrt(fan in)."""
        generator = np.random.default_rng(seed)
        return {
            name: self._drawn(name, tuple(handles[name].shape), generator)
            for name in sorted(filter(is_adapter, handles))
        }

    def _drawn(self, name: str, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        if name.endswith(".lora_gate.scales"):
            return np.zeros(shape, np.float32)
        # a part's A takes the layer's input, its B the part's rank
        fan_in = shape[1] if name.endswith(".lora_A.weight") else self.config.train.rank
        bound = 1 / np.sqrt(fan_in)
        return generator.uniform(-bound, bound, shape).astype(np.float32)
