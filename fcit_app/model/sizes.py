"""Exact sizes of a LLaVA from its configuration alone: no weights are read or made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import LlavaConfig, LlavaForConditionalGeneration

from fcit_app.errors import ModelError
from fcit_app.model.adapters import TARGETS
from fcit_app.model.hub import base_folder

LLAVA_15_7B = "llava-hf/llava-1.5-7b-hf"
"""The one checkpoint whose sizes are known without its files: transformers' defaults are its."""


@dataclass(frozen=True)
class ModelSizes:
    """Numbers of parameters, and what decides the size of activations.

    Parameters
    ----------
    packable : int
        In the decoder's linear layers, which quantisation packs.
    other : int
        In the embeddings, the output layer, all norms and the vision tower.
    projector, adapter_per_rank : int
        In the projector; in an adapter of rank 1.
    arrays_adapter, arrays_projector : int
        Arrays that travel: two a LoRA layer, and the projector's.
    layers, hidden, ffn, heads, vocabulary : int
        Of the language model.
    image_tokens : int
        Of a picture.
    """

    packable: int
    other: int
    projector: int
    adapter_per_rank: int
    arrays_adapter: int
    arrays_projector: int
    layers: int
    hidden: int
    ffn: int
    heads: int
    vocabulary: int
    image_tokens: int


def model_sizes(name: str, revision: str = "") -> ModelSizes:
    """Count a base's parameters on torch's ``meta`` device, where numbers take no memory.

    Parameters
    ----------
    name, revision : str
        See ``fcit_app.model.hub.base_folder``; ``LLAVA_15_7B`` need not be there.

    Raises
    ------
    ModelError
        If there is no such base, or its configuration cannot be used.
    """
    config: Any = LlavaConfig
    try:
        folder = base_folder(name, revision)
    except ModelError:
        if name != LLAVA_15_7B:
            raise
        found = config()
    else:
        try:
            found = config.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ModelError(f"{folder / 'config.json'} cannot be used ({error}).") from error
    text, vision = found.text_config, found.vision_config
    with torch.device("meta"):
        factory: Any = LlavaForConditionalGeneration
        model = factory(found)
    linear = {
        path: module
        for path, module in model.model.language_model.named_modules()
        if isinstance(module, nn.Linear)
    }
    packable = sum(module.weight.numel() for module in linear.values())
    projector = list(model.model.multi_modal_projector.parameters())
    projector_numbers = sum(parameter.numel() for parameter in projector)
    adapted = [m for path, m in linear.items() if re.fullmatch(TARGETS, f"x.language_model.{path}")]
    return ModelSizes(
        packable=packable,
        other=sum(p.numel() for p in model.parameters()) - packable - projector_numbers,
        projector=projector_numbers,
        adapter_per_rank=sum(m.in_features + m.out_features for m in adapted),
        arrays_adapter=2 * len(adapted),
        arrays_projector=len(projector),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        ffn=text.intermediate_size,
        heads=text.num_attention_heads,
        vocabulary=text.vocab_size,
        image_tokens=(vision.image_size // vision.patch_size) ** 2,
    )
