"""Where a base runs and in which numbers: device, precision and quantisation of frozen weights.

What is trained, the adapters and the projector, is float32 whatever the base is: these are the
master weights, and what travels. On a bfloat16 base they are multiplied in bfloat16 (``products``),
so that no layer's activations are copied to float32 and back, which PEFT does by itself. On a
float32 base nothing is cast at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import BitsAndBytesConfig

from fcit_app.errors import ModelError
from fcit_app.model.settings import BaseSettings

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
"""Environment variable that names the GPUs that a process sees."""

_INSTALL = 'pip install "bitsandbytes>=0.50,<0.51"'


def resolved(settings: BaseSettings) -> BaseSettings:
    """Replace ``auto`` by what it means on this machine.

    Raises
    ------
    ModelError
        If a GPU is asked for and there is none, or quantisation or an attention that cannot be
        had here.
    """
    there = torch.cuda.is_available()
    if settings.device == "cuda" and not there:
        raise ModelError(
            "model.device is 'cuda', but this process sees no CUDA device. Install a CUDA build of "
            "torch, give the clients a share of the GPU (fcit run --client-gpus 1), or set "
            "model.device = cpu."
        )
    device = "cuda" if there and settings.device != "cpu" else "cpu"
    dtype = settings.dtype
    if dtype == "auto":
        dtype = "bfloat16" if device == "cuda" else "float32"
    if settings.quantization != "none":
        _check_quantization(settings.quantization)
    _check_attention(settings.attention, device, dtype)
    return replace(settings, device="cuda" if device == "cuda" else "cpu", dtype=dtype)


def gpu_bytes() -> int | None:
    """Memory of the first GPU in bytes; None without one."""
    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.get_device_properties(0).total_memory)


def gpu_environments(device: str) -> list[dict[str, str]]:
    """Environment variables by which each of several processes sees a GPU of its own.

    Parameters
    ----------
    device : str
        ``model.device``.

    Returns
    -------
    list[dict[str, str]]
        One entry a GPU that this process sees; none if there are fewer than two, or the CPU is
        asked for: then nothing has to be chosen. A variable counts until CUDA is first used.
    """
    count = 0 if device == "cpu" else torch.cuda.device_count()
    if count < 2:
        return []
    seen = [name for name in os.environ.get(VISIBLE_GPUS, "").split(",") if name]
    names = seen[:count] if len(seen) >= count else [str(number) for number in range(count)]
    return [{VISIBLE_GPUS: name.strip()} for name in names]


def torch_dtype(settings: BaseSettings) -> torch.dtype:
    """Precision of the frozen weights, of settings without ``auto``."""
    return torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32


def products(model: Any) -> AbstractContextManager[None]:
    """Let what is trained be multiplied in the base's own numbers, inside.

    Every forward pass of a wrapped base belongs in here.

    Parameters
    ----------
    model : PreTrainedModel
        The base's; nothing happens unless its weights are bfloat16.
    """
    if model.dtype != torch.bfloat16:
        return nullcontext()
    context: Any = torch.autocast(model.device.type, torch.bfloat16)
    return context  # type: ignore[no-any-return]


def leave_inputs(layers: Iterable[nn.Module]) -> None:
    """Keep PEFT's layers from casting their inputs to the float32 of what is trained."""
    for layer in layers:
        if isinstance(layer, LoraLayer):
            layer.cast_input_dtype_enabled = False


def loading_options(settings: BaseSettings, unquantized: Sequence[str]) -> dict[str, Any]:
    """Arguments of transformers' ``from_pretrained`` for settings without ``auto``.

    ``unquantized`` names modules that keep their precision (``Architecture.unquantized``).

    4 bits are NF4 with doubly quantised constants, as in QLoRA (Dettmers et al. 2023); products
    are computed in the base's precision.
    """
    options: dict[str, Any] = {
        "dtype": torch_dtype(settings),
        "attn_implementation": settings.attention,
    }
    if settings.quantization == "none":
        return options
    configuration: Any = BitsAndBytesConfig
    if settings.quantization == "nf4":
        packed = configuration(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch_dtype(settings),
            llm_int8_skip_modules=list(unquantized),
        )
    else:
        packed = configuration(load_in_8bit=True, llm_int8_skip_modules=list(unquantized))
    return {**options, "quantization_config": packed, "device_map": {"": settings.device}}


def keep_gradients_right(model: Any) -> None:
    """Keep bitsandbytes from packing 4-bit weights anew in an evaluation on the CPU.

    On a CPU with AVX512-BF16 it does so (seen with 0.50.2), and from then on gradients through
    these layers are wrong or missing while the loss is right. Weights that are never packed anew
    give the same gradients always, at the price of a slower evaluation.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _check_quantization(kind: str) -> None:
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            f"model.quantization is '{kind}', which needs the package bitsandbytes. Install it "
            f"with: {_INSTALL} (or this package with its extra: fcit-disco[quantization]); or set "
            "model.quantization = none."
        )


def _check_attention(kind: str, device: str, dtype: str) -> None:
    if kind != "flash_attention_2":
        return
    if device == "cpu" or dtype != "bfloat16":
        raise ModelError(
            f"model.attention is '{kind}', which runs on a GPU in bfloat16 only; here it would be "
            f"{device} in {dtype}. Set model.attention = sdpa, or model.device = cuda and "
            "model.dtype = bfloat16."
        )
    if find_spec("flash_attn") is None:
        raise ModelError(
            f"model.attention is '{kind}', which needs the package flash-attn. Install it on this "
            "machine (pip install flash-attn --no-build-isolation), or set model.attention = sdpa."
        )
