"""LoRA adapters: put into the base, named, drawn, checked, loaded and read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn import Parameter

from fcit_app.arrays import Array, Arrays
from fcit_app.errors import ModelError
from fcit_app.model.base import BaseModel, Extension

ADAPTER = "client"
"""PEFT's name of the adapter that a client trains; it is left out of the wire names."""

# the language model's feed-forward layers and nothing else (DISCO, official code)
TARGETS = r".*\.language_model\.layers\.\d+\.mlp\.(gate_proj|up_proj|down_proj)"

POOL = "prompt_pool"
"""Module of a wrapped model that holds soft prompts, where the method has any."""

_PROJECTOR = ".multi_modal_projector."
_INITIAL_DEVIATION = 0.01


def wrap(
    base: BaseModel,
    rank: int,
    scaling: float,
    dropout: float = 0.0,
    extension: Extension | None = None,
) -> PeftModel:
    """Put LoRA layers into the base's feed-forward layers; the same call again costs nothing.

    Parameters
    ----------
    base : BaseModel
        Changed in place: its layers get an adapter next to their frozen weights. A wrapping with
        other values is taken off first.
    rank : int
        Rank of one subspace.
    scaling : float
        Factor on the adapter's output, ``alpha / rank``.
    dropout : float
        Dropout on the adapter's input while training.
    extension : Extension, optional
        What a method adds to the LoRA layers; equal ones count as the same.

    Returns
    -------
    PeftModel
        The wrapped model in evaluation mode, only the adapter trainable.
    """
    wanted = (rank, scaling * rank, dropout)
    if base.adapted is not None:
        former: Any = base.adapted.peft_config[ADAPTER]
        values = (former.r, former.lora_alpha, former.lora_dropout)
        if values == wanted and base.extension == extension:
            return base.adapted
        base.adapted.unload()
        base.adapted = base.extension = None
    config = LoraConfig(
        r=rank,
        lora_alpha=scaling * rank,  # type: ignore[arg-type]  # PEFT only divides by it
        lora_dropout=dropout,
        target_modules=TARGETS,
        bias="none",
    )
    # PEFT draws A from the global generator, and reads an attribute that transformers renames:
    # a warning that no user can mend.
    with (
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(action="ignore", category=FutureWarning),
    ):
        adapted = get_peft_model(base.model, config, adapter_name=ADAPTER)
    assert isinstance(adapted, PeftModel)
    if extension is not None:
        extension.install(adapted)
    base.adapted, base.extension = adapted.train(False), extension
    return base.adapted


def is_adapter(name: str) -> bool:
    """Whether a wire name belongs to an adapter: a LoRA matrix, a gate or a prompt pool."""
    return ".lora_" in name or name.startswith(f"{POOL}.")


def is_lora(name: str) -> bool:
    """Whether a wire name is that of a LoRA matrix."""
    return name.endswith((".lora_A.weight", ".lora_B.weight"))


def inside_projector(name: str) -> str:
    """Name of a projector's parameter inside the projector, from its wire name."""
    return name.partition(_PROJECTOR)[2]


def parameter_handles(model: PeftModel, projector: bool) -> dict[str, Parameter]:
    """Wire name to live parameter: the only names that may travel.

    Parameters
    ----------
    model : PeftModel
        A model from ``wrap``.
    projector : bool
        Whether the multi-modal projector is trained, in place, next to the adapter.

    Returns
    -------
    dict[str, Parameter]
        In alphabetical order; a prompt pool is trained instead of LoRA matrices. Look it up once
        and keep it: the parameters stay the same objects.
    """
    handles = {}
    prompts = hasattr(model, POOL)
    for name, parameter in model.named_parameters():
        if prompts and name.startswith(f"{POOL}."):
            handles[name] = parameter
        elif not prompts and f".{ADAPTER}." in name and ".lora_" in name:
            handles[name.replace(f".{ADAPTER}.", ".", 1)] = parameter
        elif projector and _PROJECTOR in name:
            handles[name] = parameter
    return dict(sorted(handles.items()))


def initial_adapter(handles: Mapping[str, Parameter], seed: int) -> Arrays:
    """Draw a fresh adapter: A ~ N(0, 0.01^2), B = 0, so that it changes nothing yet.

    The values are those of DISCO's official code.
    Drawn with NumPy in the order of the names, so the numbers depend on ``seed`` alone.
    """
    generator = np.random.default_rng(seed)
    arrays: Arrays = {}
    for name in sorted(filter(is_lora, handles)):
        shape = tuple(handles[name].shape)
        if name.endswith(".lora_A.weight"):
            drawn = generator.standard_normal(shape) * _INITIAL_DEVIATION
            arrays[name] = drawn.astype(np.float32)
        else:
            arrays[name] = np.zeros(shape, np.float32)
    return arrays


def checked(
    handles: Mapping[str, Parameter], arrays: Mapping[str, Array], what: str = "adapter"
) -> Arrays:
    """Arrays that fit the handles exactly, as float32.

    Parameters
    ----------
    handles : Mapping[str, Parameter]
        What is expected: names and shapes.
    arrays : Mapping[str, Array]
        What came, perhaps from a stranger.
    what : str
        Name of the arrays in an error's text.

    Raises
    ------
    ModelError
        If a name is missing or unknown, a shape differs, or a number is not finite.
    """
    missing = sorted(set(handles) - set(arrays))
    unknown = sorted(set(arrays) - set(handles))
    if missing or unknown:
        said = [f"{len(names)} {kind} (first: '{names[0]}')" for kind, names in
                (("missing", missing), ("unknown", unknown)) if names]  # fmt: skip
        raise ModelError(
            f"The {what} does not belong to this model: {' and '.join(said)}. It must hold exactly "
            f"the {len(handles)} parameters of this model's adapter and trained projector."
        )
    good: Arrays = {}
    for name, handle in handles.items():
        array = np.asarray(arrays[name])
        if array.dtype.kind != "f":
            raise ModelError(f"The {what} holds '{name}' as {array.dtype}, not as floating point.")
        if array.shape != tuple(handle.shape):
            raise ModelError(
                f"The {what} holds '{name}' with shape {array.shape}; this model needs "
                f"{tuple(handle.shape)}. Rank and base must be those it was trained with."
            )
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite: told below
            good[name] = array.astype(np.float32)
        if not np.isfinite(good[name]).all():
            raise ModelError(f"The {what} holds numbers in '{name}' that are not finite.")
    return good


@torch.no_grad()
def load_parameters_(
    handles: Mapping[str, Parameter], arrays: Mapping[str, Array], what: str = "adapter"
) -> None:
    """Copy arrays into the live parameters: all of them, or none if anything is wrong.

    Raises
    ------
    ModelError
        See ``checked``; nothing has been changed then.
    """
    for name, array in checked(handles, arrays, what).items():
        handles[name].copy_(torch.from_numpy(array))


def read_parameters(handles: Mapping[str, Parameter]) -> Arrays:
    """Float32 copies of the live parameters, in no way tied to them."""
    return {
        name: np.array(parameter.detach().cpu().numpy(), dtype=np.float32)
        for name, parameter in handles.items()
    }
