"""LoRA adapters: put into the base, named, drawn, checked, loaded and read."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from torch.nn import Parameter

from fcit_app.arrays import Array, Arrays
from fcit_app.errors import ModelError
from fcit_app.model.architectures import LoraTargets, architecture_of
from fcit_app.model.base import BaseModel, Extension
from fcit_app.model.precision import leave_inputs

ADAPTER = "client"
"""PEFT's name of the adapter that a client trains; it is left out of the wire names."""

POOL = "prompt_pool"
"""Module of a wrapped model that holds soft prompts, where the method has any."""

_INITIAL_DEVIATION = 0.01


def wrap(
    base: BaseModel,
    rank: int,
    scaling: float,
    dropout: float = 0.0,
    extension: Extension | None = None,
    targets: LoraTargets = "ffn",
) -> PeftModel:
    """Put LoRA layers into the base's language model; the same call again costs nothing.

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
    targets : {"ffn", "attention", "ffn+attention"}
        Which of the language model's layers; its feed-forward layers and nothing else in DISCO.

    Returns
    -------
    PeftModel
        The wrapped model in evaluation mode, only the adapter trainable.

    Raises
    ------
    ModelError
        If the architecture's rule finds no such layers in the model.
    """
    pattern = "|".join(base.architecture.targets(targets).values())
    wanted = (rank, scaling * rank, dropout, pattern)
    if base.adapted is not None:
        former: Any = base.adapted.peft_config[ADAPTER]
        values = (former.r, former.lora_alpha, former.lora_dropout, former.target_modules)
        if values == wanted and base.extension == extension:
            return base.adapted
        base.adapted.unload()
        base.adapted = base.extension = None
    _check_targets(base, targets)
    config = LoraConfig(
        r=rank,
        lora_alpha=scaling * rank,  # type: ignore[arg-type]  # PEFT only divides by it
        lora_dropout=dropout,
        target_modules=pattern,
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
    if base.model.dtype == torch.bfloat16:
        leave_inputs(adapted.modules())
    if extension is not None:
        extension.install(adapted)
    base.adapted, base.extension = adapted.train(False), extension
    return base.adapted


def _check_targets(base: BaseModel, targets: LoraTargets) -> None:
    """Refuse a base whose layers have other names than its architecture's rule expects."""
    layers = [name for name, module in base.model.named_modules() if isinstance(module, nn.Linear)]
    decoder = f"{base.architecture.decoder}.layers."
    for kind, pattern in base.architecture.targets(targets).items():
        if any(re.fullmatch(pattern, name) for name in layers):
            continue
        inside = (name.removeprefix(decoder) for name in layers if name.startswith(decoder))
        found = sorted({name.partition(".")[2] for name in inside})
        raise ModelError(
            f"train.lora-targets asks for the {kind} layers of '{base.name}', but no linear layer "
            f"matches '{pattern}'; found in its decoder layers: {', '.join(found) or 'none'}. The "
            "rule is in fcit_app/model/architectures.py."
        )


def check_projector(base: BaseModel, projector: str) -> None:
    """Refuse to train the projector of a base that has none.

    Raises
    ------
    ModelError
        Unless the base takes pictures, or the setting ``projector`` is "frozen".
    """
    if not base.architecture.sees and projector != "frozen":
        raise ModelError(
            f"projector: '{projector}' is not allowed for the base '{base.name}', a model of text "
            "alone that has no projector; allowed: frozen."
        )


def is_adapter(name: str) -> bool:
    """Whether a wire name belongs to an adapter: a LoRA matrix, a gate or a prompt pool."""
    return ".lora_" in name or name.startswith(f"{POOL}.")


def is_lora(name: str) -> bool:
    """Whether a wire name is that of a LoRA matrix."""
    return name.endswith((".lora_A.weight", ".lora_B.weight"))


def inside_projector(name: str, path: str) -> str:
    """Name of a parameter inside the projector at ``path``, from its wire name."""
    return name.partition(f".{path}.")[2]


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
    configuration: Any = model.get_base_model().config
    path = architecture_of(configuration.model_type).projector
    for name, parameter in model.named_parameters():
        if prompts and name.startswith(f"{POOL}."):
            handles[name] = parameter
        elif not prompts and f".{ADAPTER}." in name and ".lora_" in name:
            handles[name.replace(f".{ADAPTER}.", ".", 1)] = parameter
        elif projector and path and f".{path}." in name:
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
