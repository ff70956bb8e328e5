"""Exact sizes of a base from its configuration alone: no weights are read or made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    LlavaConfig,
)

from fcit_app.errors import ModelError
from fcit_app.model.architectures import Architecture, LoraTargets, architecture_of
from fcit_app.model.base import image_tokens
from fcit_app.model.hub import base_folder
from fcit_app.model.placeholders import picture_text
from fcit_app.model.processor import load_processor

LLAVA_15_7B = "llava-hf/llava-1.5-7b-hf"
"""The one checkpoint whose sizes are known without its files: transformers' defaults are its."""


TYPICAL = (640, 480)
"""Width and height of a picture of COCO's, in pixels."""


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
        Of a picture; of one of ``TYPICAL`` size where that decides.
    picture_numbers : int
        In the features that the vision tower makes of such a picture, before the projector.
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
    picture_numbers: int


def model_sizes(name: str, revision: str = "", targets: LoraTargets = "ffn") -> ModelSizes:
    """Count a base's parameters on torch's ``meta`` device, where numbers take no memory.

    Parameters
    ----------
    name, revision : str
        See ``fcit_app.model.hub.base_folder``; ``LLAVA_15_7B`` need not be there.
    targets : {"ffn", "attention", "ffn+attention"}
        Which layers get an adapter.

    Raises
    ------
    ModelError
        If there is no such base, or its configuration cannot be used.
    """
    folder, config = _configuration(name, revision)
    architecture = architecture_of(config.model_type, folder or name)
    text = config.get_text_config()
    factory: Any = AutoModelForImageTextToText if architecture.sees else AutoModelForCausalLM
    with torch.device("meta"):
        model = factory.from_config(config)
    linear = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and path.startswith(f"{architecture.decoder}.")
    }
    packable = sum(module.weight.numel() for module in linear.values())
    projector = []
    if architecture.sees:
        projector = list(model.get_submodule(architecture.projector).parameters())
    projector_numbers = sum(parameter.numel() for parameter in projector)
    pattern = "|".join(architecture.targets(targets).values())
    adapted = [module for path, module in linear.items() if re.fullmatch(pattern, path)]
    tokens = _picture_tokens(folder, config, architecture)
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
        image_tokens=tokens,
        picture_numbers=tokens * _numbers_a_token(config, architecture),
    )


def _numbers_a_token(config: Any, architecture: Architecture) -> int:
    """Numbers of the vision tower's features that become one token."""
    if not architecture.sees:
        return 0
    width, patches = int(config.vision_config.hidden_size), 1
    if architecture.sight == "fixed":
        layers = config.vision_feature_layer
        patches = 1 if isinstance(layers, int) else len(layers)
    elif architecture.sight == "grid":
        patches = config.vision_config.spatial_merge_size**2
    else:
        patches = config.scale_factor**2
    return width * int(patches)


def _configuration(name: str, revision: str) -> tuple[Path | None, Any]:
    try:
        folder = base_folder(name, revision)
    except ModelError:
        if name != LLAVA_15_7B:
            raise
        default: Any = LlavaConfig
        return None, default()
    try:
        return folder, AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{folder / 'config.json'} cannot be used ({error}).") from error


def _picture_tokens(folder: Path | None, config: Any, architecture: Architecture) -> int:
    piece = image_tokens(config, architecture)
    if folder is None or architecture.sight in ("fixed", "none"):
        return piece
    processor = load_processor(folder, architecture)
    images = processor.image_processor
    text = picture_text(architecture.sight, images, piece, *TYPICAL)
    return text.count(processor.image_token)
