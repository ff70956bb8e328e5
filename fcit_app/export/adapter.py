"""A run's subspaces as plain LoRA adapters that stock PEFT reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peft import LoraConfig
from safetensors.numpy import save_file

from fcit_app.arrays import Arrays
from fcit_app.config import RunConfig
from fcit_app.errors import ModelError
from fcit_app.model.architectures import Architecture
from fcit_app.model.bank import Subspace

_A, _B, _SCALES = ".lora_A.weight", ".lora_B.weight", ".lora_gate.scales"

_NO_LORA = {
    "moelora": "its gates weigh the experts anew for each input",
    "l2p": "it has soft prompts instead of LoRA matrices",
}


@dataclass(frozen=True, eq=False)
class PlainLora:
    """One adapter that is nothing but LoRA, and perhaps a projector.

    Parameters
    ----------
    arrays : Arrays
        LoRA matrices and the projector's parameters, float32, by PEFT's names on disk (which are
        the wire names).
    rank : int
        Of all layers.
    alpha : float
        ``alpha / rank`` is the factor on the output.
    """

    arrays: Arrays
    rank: int
    alpha: float


def check_exportable(method: str) -> None:
    """Refuse methods whose adapters are no LoRA.

    Raises
    ------
    ModelError
        Says why.
    """
    if method in _NO_LORA:
        raise ModelError(
            f"A run of method {method} cannot be exported as a LoRA adapter: {_NO_LORA[method]}. "
            "Exported can be runs of disco, finetune, ewc, o-lora and m-lora."
        )


def plain_lora(
    subspaces: Sequence[Subspace],
    weights: Sequence[float],
    projector: Arrays | None,
    config: RunConfig,
) -> PlainLora:
    """Stack subspaces into one adapter whose output is their weighted sum, to rounding.

    The As stand below each other and the Bs next to each other (`fcit_app.model.stacked`), each B
    times its weight. M-LoRA's learned scales are multiplied into B as well.

    Parameters
    ----------
    subspaces : Sequence[Subspace]
        At least one.
    weights : Sequence[float]
        One each.
    projector : Arrays or None
        The trained projector by wire name.
    config : RunConfig
        Gives the factor on the adapters' output.
    """
    adapters = [_folded(subspace.adapter) for subspace in subspaces]
    arrays: Arrays = {}
    for name in adapters[0]:
        parts = [adapter[name] for adapter in adapters]
        if name.endswith(_A):
            arrays[name] = np.concatenate(parts, axis=0)
        else:
            scaled = [np.float32(w) * part for w, part in zip(weights, parts, strict=True)]
            arrays[name] = np.ascontiguousarray(np.concatenate(scaled, axis=1))
    rank = next(len(array) for name, array in arrays.items() if name.endswith(_A))
    return PlainLora({**arrays, **(projector or {})}, rank, config.train.scaling * rank)


def _folded(adapter: Arrays) -> Arrays:
    """LoRA matrices alone, M-LoRA's scale of each part in the part's columns of B."""
    folded: Arrays = {}
    for name, array in adapter.items():
        if name.endswith(_B) and name.replace(_B, _SCALES) in adapter:
            scales = adapter[name.replace(_B, _SCALES)]
            folded[name] = array * np.repeat(scales, array.shape[1] // len(scales))
        elif name.endswith((_A, _B)):
            folded[name] = array
    return folded


def write_adapter(
    folder: Path, lora: PlainLora, config: RunConfig, architecture: Architecture, base: str
) -> None:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors``.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    lora : PlainLora
        What is written.
    config : RunConfig
        Gives the layers that have an adapter.
    architecture : Architecture
        Of the base.
    base : str
        What the configuration names as the base.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with_projector = any(not name.endswith((_A, _B)) for name in lora.arrays)
    alpha = int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha
    described = LoraConfig(
        base_model_name_or_path=base,
        revision=config.model.revision or None,
        r=lora.rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # PEFT only divides by it
        target_modules="|".join(architecture.targets(config.train.lora_targets).values()),
        bias="none",
        # PEFT finds modules by the end of their path: the whole path names one alone
        modules_to_save=[architecture.projector] if with_projector else None,
        inference_mode=True,
    )
    described.save_pretrained(str(folder))
    save_file(lora.arrays, folder / "adapter_model.safetensors", metadata={"format": "pt"})
