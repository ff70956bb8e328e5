"""Features of the vision tower on disk, shared by all processes, and never believed unchecked."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL
import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fcit_app.model.base import BaseModel

_LOGGER = logging.getLogger(__name__)

_FORMAT = 1
"""Of the files, and of what is done to a picture before the image processor sees it."""

_FEATURES, _DIGEST = "features", "sha256"


class FeatureFolder:
    """Features by the hash of their picture, below a folder named after what else decides them.

    One safetensors file a picture, with a hash of name and numbers in its metadata: what does not
    fit it, a file cut short, a flipped bit, another picture's file, is as good as not there and
    written anew. Files are renamed into place, so that processes may share the folder. Nothing is
    ever removed; the whole folder may be, at any time.

    Parameters
    ----------
    root : Path
        Made when something is written.
    identity : str
        Other features have another one, see ``features_identity``.
    """

    def __init__(self, root: Path, identity: str) -> None:
        self._folder = root / identity[:32]
        self._writable = True

    def read(self, digest: str) -> Tensor | None:
        """Give a picture's features, on the CPU; None if they are not here, or not sound."""
        file = self._file(digest)
        try:
            with safe_open(file, framework="pt") as content:
                facts, features = content.metadata() or {}, content.get_tensor(_FEATURES)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, KeyError) as error:
            _LOGGER.warning("%s is damaged (%s); its features are computed anew.", file, error)
            return None
        if facts.get(_DIGEST) != _digest_of(digest, features):
            _LOGGER.warning("%s is not what was written; its features are computed anew.", file)
            return None
        found: Tensor = features
        return found

    def write(self, digest: str, features: Tensor) -> None:
        """Keep a picture's features; if that cannot be done, say so once and go on without."""
        if not self._writable:
            return
        file, numbers = self._file(digest), features.detach().cpu().contiguous()
        content = save({_FEATURES: numbers}, {_DIGEST: _digest_of(digest, numbers)})
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
                part.write(content)
            os.replace(part.name, file)
        except OSError as error:
            self._writable = False
            _LOGGER.warning(
                "data.feature-cache: nothing can be written to %s (%s); the run goes on, and "
                "computes what is not there.",
                self._folder,
                error.strerror or error,
            )

    def _file(self, digest: str) -> Path:
        return self._folder / digest[:2] / f"{digest}.safetensors"


def features_identity(base: BaseModel) -> str:
    """SHA-256 of all that decides the last bit of a picture's features beside the picture.

    The vision tower's weights, in their precision; the layer that is taken; the image processor's
    settings; padding; kind of device; versions of the libraries that decode, process and compute.
    Not the projector, which comes after the features and is trained.
    """
    config = base.model.config
    on_gpu = base.device.type == "cuda"
    facts = {
        "format": _FORMAT,
        "sight": base.architecture.sight,
        "pad": base.pad_to_square,
        "images": base.processor.image_processor.to_dict(),
        "tower": config.vision_config.to_dict(),
        "attention": base.tower.config._attn_implementation,
        "layer": [
            getattr(config, name, None)
            for name in ("vision_feature_layer", "vision_feature_select_strategy")
        ],
        "device": torch.cuda.get_device_name() if on_gpu else _processor(),
        "versions": [torch.__version__, transformers.__version__, PIL.__version__],
    }
    found = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, tensor in _tower_weights(base):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(_bytes_of(tensor))
    return found.hexdigest()


def _tower_weights(base: BaseModel) -> Iterator[tuple[str, Tensor]]:
    """Give the tower's numbers without the projector, which in Qwen2.5-VL lies inside it."""
    inside = base.architecture.projector.removeprefix(f"{base.architecture.tower}.")
    for name, tensor in sorted(base.tower.state_dict().items()):
        if not name.startswith(f"{inside}."):
            yield name, tensor


def _processor() -> str:
    capability: Any = torch.backends.cpu.get_cpu_capability
    return f"cpu {capability()}"


def _digest_of(picture: str, features: Tensor) -> str:
    facts = f"{picture} {features.dtype} {tuple(features.shape)} "
    return hashlib.sha256(facts.encode() + _bytes_of(features)).hexdigest()


def _bytes_of(tensor: Tensor) -> bytes:
    numbers = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return numbers.numpy().tobytes()
