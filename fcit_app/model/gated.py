"""LoRA in parts: one LoRA of rank n*r per layer whose n parts are weighed by a small gate.

``y = W x + s * B (g * (A x))`` with the part's weight repeated r times in ``g``, as for a stacked
bank (``model/stacked.py``); here the weights are learned with the parts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any

from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from fcit_app.model.adapters import ADAPTER


class LoraGate(nn.Module, ABC):
    """Weights of one layer's parts; a method says what they depend on.

    Parameters
    ----------
    parts : int
        Number of parts n.
    width : int
        Width of the layer's input.
    """

    def __init__(self, parts: int, width: int) -> None:
        super().__init__()
        self.parts = parts
        self.width = width

    @abstractmethod
    def weights(self, inputs: Tensor) -> Tensor:
        """Weights for inputs of shape (..., width), broadcastable to shape (..., parts)."""


@dataclass(frozen=True)
class GatedParts:
    """Extension of a wrapping (``adapters.wrap``): a gate on each LoRA layer.

    The gate's parameters get wire names like ``...gate_proj.lora_gate.<parameter>``.

    Parameters
    ----------
    gate : type[LoraGate]
        Made once a layer.
    parts : int
        Number of parts; divides the wrapping's rank.
    """

    gate: type[LoraGate]
    parts: int

    def install(self, model: PeftModel) -> None:
        """Put a gate on each LoRA layer of a freshly wrapped model."""
        for layer in model.modules():
            if isinstance(layer, LoraLayer):
                below: Any = layer.lora_A[ADAPTER]
                gate = self.gate(self.parts, below.in_features).to(below.weight.device)
                layer.lora_gate = nn.ModuleDict({ADAPTER: gate})
                below.register_forward_hook(partial(_weigh, gate))


def _weigh(gate: LoraGate, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """Forward hook of A: scale each part's activations by its weight."""
    rank = output.shape[-1] // gate.parts
    return output * gate.weights(inputs[0]).repeat_interleave(rank, dim=-1)
