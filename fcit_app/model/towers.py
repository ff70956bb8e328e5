"""What vision towers make of pictures, before the projector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor, nn

from fcit_app.errors import ModelError
from fcit_app.model.architectures import Sight
from fcit_app.model.base import BaseModel

CHUNK = 16
"""Pictures that a tower with a fixed number of patches sees at once."""

Inputs = Mapping[str, Tensor]
"""What the image processor makes of one picture, on the CPU, by transformers' names."""

_INPUTS: Mapping[Sight, tuple[str, ...]] = MappingProxyType(
    {
        "fixed": ("pixel_values",),
        "grid": ("pixel_values", "image_grid_thw"),
        "tiles": ("pixel_values", "pixel_attention_mask"),
    }
)


def picture_inputs(base: BaseModel, picture: Image) -> Inputs:
    """Process one RGB picture for the tower; needs no device, so any thread may do it."""
    sight = base.architecture.sight
    pictures = [[picture]] if sight == "tiles" else [picture]
    made = base.processor.image_processor(pictures, return_tensors="pt")
    return {name: made[name] for name in _INPUTS[sight]}


@torch.no_grad()
def tower_features(base: BaseModel, inputs: Sequence[Inputs]) -> list[Tensor]:
    """Features of at most ``CHUNK`` pictures, which do not depend on each other to the last bit.

    Parameters
    ----------
    base : BaseModel
        One that takes pictures.
    inputs : Sequence[Inputs]
        What ``picture_inputs`` made of each.

    Returns
    -------
    list[Tensor]
        On the base's device, in the tower's precision, one a picture, of shape

        - fixed: (image tokens, vision width);
        - grid: (rows, columns, patches merged into a token, vision width);
        - tiles: (tiles, patches of a tile, vision width).

    Raises
    ------
    ModelError
        If image processor and vision tower do not go together.
    """
    tower = base.tower
    was_training = tower.training
    tower.eval()
    try:
        if base.architecture.sight == "fixed":
            return _fixed(base, tower, inputs)
        one = _grid if base.architecture.sight == "grid" else _tiles
        return [one(base, tower, made) for made in inputs]
    finally:
        tower.train(was_training)


def _fixed(base: BaseModel, tower: Any, inputs: Sequence[Inputs]) -> list[Tensor]:
    """LLaVA: hidden states of CLIP's tower, in one batch of a fixed size."""
    config = base.model.config
    pixels = torch.cat([made["pixel_values"] for made in inputs])
    if len(inputs) < CHUNK:
        filler = pixels.new_zeros((CHUNK - len(inputs), *pixels.shape[1:]))
        pixels = torch.cat([pixels, filler])
    states = tower(pixels.to(base.device, tower.dtype), output_hidden_states=True).hidden_states
    layers = config.vision_feature_layer
    chosen = [states[layer] for layer in ([layers] if isinstance(layers, int) else layers)]
    if config.vision_feature_select_strategy == "default":
        chosen = [state[:, 1:] for state in chosen]
    features = torch.cat(chosen, dim=-1)[: len(inputs)]
    if features.shape[1] != base.image_tokens:
        raise ModelError(
            f"The image processor of '{base.name}' gives pictures of {features.shape[1]} "
            f"patches, its vision tower is built for {base.image_tokens}: crop_size in "
            "processor_config.json and image_size in config.json must be equal."
        )
    # clones: a view would keep the whole chunk alive after its neighbours are dropped
    return [row.clone() for row in features]


def _grid(base: BaseModel, tower: Any, inputs: Inputs) -> Tensor:
    """Qwen2.5-VL: what its merger, which is the projector, would be given, in reading order."""
    grid = inputs["image_grid_thw"].to(base.device)
    side = tower.spatial_merge_size
    with _replaced_merger(tower, nn.Unflatten(0, (-1, side * side))):
        pixels = inputs["pixel_values"].to(base.device, tower.dtype)
        # the tower attends in windows and puts its merger's rows back in order at the end
        ordered: Tensor = tower(pixels, grid_thw=grid).pooler_output
    _, rows, columns = grid[0].tolist()
    return ordered.reshape(rows // side, columns // side, *ordered.shape[1:])


def _tiles(base: BaseModel, tower: Any, inputs: Inputs) -> Tensor:
    """Idefics3 and SmolVLM: last hidden states of the picture's tiles."""
    pixels = inputs["pixel_values"][0].to(base.device, tower.dtype)
    side = tower.patch_size
    seen = inputs["pixel_attention_mask"][0].bool().to(base.device)
    patches = seen.unfold(1, side, side).unfold(2, side, side).any(dim=-1).any(dim=-1)
    states: Tensor = tower(pixel_values=pixels, patch_attention_mask=patches).last_hidden_state
    return states


@contextmanager
def _replaced_merger(tower: Any, stand_in: nn.Module) -> Iterator[None]:
    """Let the tower end before its merger."""
    merger = tower.merger
    tower.merger = stand_in
    try:
        yield
    finally:
        tower.merger = merger
