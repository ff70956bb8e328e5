"""Random adapters and banks for the small LLaVA, and an answer to what they should do."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tiny_llava import QUESTIONS
from torch import nn
from torch.nn import Parameter

from fcit_app.arrays import Array, Arrays
from fcit_app.identity.encoders import HashedNgramEncoder
from fcit_app.identity.tokens import IdentityToken
from fcit_app.model.adapters import is_adapter
from fcit_app.model.bank import Bank, Subspace

RANK = 4
SCALING = 2.0


def random_adapter(handles: Mapping[str, Parameter], seed: int, size: float = 0.3) -> Arrays:
    """An adapter with A and B drawn, so that it changes every answer."""
    generator = np.random.default_rng(seed)
    return {
        name: (size * generator.standard_normal(tuple(handle.shape))).astype(np.float32)
        for name, handle in handles.items()
        if is_adapter(name)
    }


def random_bank(handles: Mapping[str, Parameter], count: int, seed: int = 0) -> Bank:
    """``count`` random subspaces; subspace i has the identity of question i."""
    encoder = HashedNgramEncoder()
    return Bank(
        tuple(
            Subspace(
                identifier=number,
                adapter=random_adapter(handles, 100 * seed + number),
                token=IdentityToken.of(encoder.encode([QUESTIONS[number]])),
                first_stage=number + 1,
            )
            for number in range(count)
        )
    )


def merged_by_hand(plain: Any, adapters: Sequence[Arrays], weights: Sequence[float]) -> Any:
    """A copy of a model without PEFT, with the weighted adapters added to its dense weights."""
    model = copy.deepcopy(plain)
    for adapter, weight in zip(adapters, weights, strict=True):
        for name in adapter:
            if not name.endswith(".lora_A.weight"):
                continue
            product = adapter[name.replace("lora_A", "lora_B")] @ adapter[name]
            path = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            layer = model.get_submodule(path)
            layer.weight.data += float(weight) * SCALING * torch.from_numpy(product)
    return model


def fingerprint(model: nn.Module) -> str:
    """Hash over names, numbers, trainability and mode of a whole model."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name} {parameter.requires_grad} {parameter.grad is None}".encode())
        digest.update(parameter.detach().numpy().tobytes())
    for name, module in sorted(model.named_modules()):
        digest.update(f"{name} {module.training}".encode())
    return digest.hexdigest()


def same_bits(first: Mapping[str, Array], second: Mapping[str, Array]) -> bool:
    """Whether two sets of arrays have the same names and the very same numbers."""
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )
