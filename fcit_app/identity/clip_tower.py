"""One tower of a CLIP checkpoint, frozen, from files that are there."""

from __future__ import annotations

from typing import Any


def load_tower(tower: Any, path_or_name: str) -> tuple[Any, list[str]]:
    """Load a tower in float32 from local safetensors; no download, no pickle.

    Parameters
    ----------
    tower : type
        A class of transformers, such as ``CLIPTextModel``.
    path_or_name : str
        Folder, or a checkpoint's name in the local cache.

    Returns
    -------
    model, missing
        In evaluation mode without gradients, and the sorted names of weights that the files lack:
        transformers fills them with random numbers and only warns.

    Raises
    ------
    OSError, ValueError, KeyError, RuntimeError, SafetensorError
        As transformers raises them.
    """
    import torch

    model, info = tower.from_pretrained(
        path_or_name,
        local_files_only=True,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    return model.eval().requires_grad_(False), sorted(info["missing_keys"])
