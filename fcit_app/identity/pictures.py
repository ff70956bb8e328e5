"""CLIP's frozen vision tower, which turns pictures into the features of identity tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from PIL.Image import Image
from safetensors import SafetensorError

from fcit_app.arrays import Array
from fcit_app.errors import ModelError
from fcit_app.identity.clip_tower import load_tower
from fcit_app.identity.encoders import CLIP

_CHUNK = 16


class ClipPictureEncoder:
    """`image_embeds` of CLIP: after its visual projection, not normalised.

    What the official code's ablation with image tokens takes (reference: `fcit-spec.md`, 4).
    Pictures go through the tower in chunks of one fixed size: then a picture's features do not
    depend, to the last bit, on the pictures computed with it.

    Parameters
    ----------
    path_or_name : str
        Folder of a whole CLIP checkpoint (safetensors) with its image processor, or a name that is
        already in the local cache; nothing is downloaded and no code of it is run.

    Raises
    ------
    ModelError
        If the checkpoint cannot be loaded or lacks weights of the vision tower.
    """

    def __init__(self, path_or_name: str) -> None:
        from transformers import AutoImageProcessor, CLIPVisionModelWithProjection

        processors: Any = AutoImageProcessor
        try:
            self._processor = processors.from_pretrained(
                path_or_name, local_files_only=True, trust_remote_code=False
            )
            self._model, missing = load_tower(CLIPVisionModelWithProjection, path_or_name)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise _unusable(path_or_name, str(error)) from error
        if missing:
            reason = f"it lacks weights of the vision tower ({missing[0]}, ...)"
            raise _unusable(path_or_name, reason)
        self.dimension = int(self._model.config.projection_dim)

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean colour of the pictures it was trained on, from 0 to 1: what to pad them with."""
        return tuple(self._processor.image_mean)

    def encode(self, pictures: Sequence[Image]) -> Array:
        """Features of n RGB pictures: (n, d) float32, not normalised, row i of picture i."""
        import torch

        rows = [np.zeros((0, self.dimension), dtype=np.float32)]
        for start in range(0, len(pictures), _CHUNK):
            chunk = list(pictures[start : start + _CHUNK])
            pixels = self._processor(chunk, return_tensors="pt")["pixel_values"]
            filler = pixels.new_zeros((_CHUNK - len(chunk), *pixels.shape[1:]))
            with torch.inference_mode():
                embedded = self._model(pixel_values=torch.cat([pixels, filler])).image_embeds
            rows.append(embedded[: len(chunk)].float().numpy())
        return np.concatenate(rows)


@lru_cache(maxsize=2)
def load_picture_encoder(spec: str) -> ClipPictureEncoder | None:
    """Load the vision tower that belongs to a text encoder, once per process.

    Parameters
    ----------
    spec : str
        `identity.encoder`; None is returned unless it is `clip:<folder or name>`.

    Raises
    ------
    ModelError
        If the checkpoint has no vision tower that can be loaded.
    """
    kind, _, path = spec.partition(":")
    return ClipPictureEncoder(path) if kind == CLIP and path else None


def _unusable(path_or_name: str, reason: str) -> ModelError:
    return ModelError(
        f"identity.token needs pictures, but the vision tower of {path_or_name!r} cannot be "
        f"loaded: {reason}. Give the folder of a whole CLIP checkpoint with its "
        "preprocessor_config.json as identity.encoder, or set identity.token = text."
    )
