"""Memory of the frozen weights and of training: NF4 against bfloat16, and our own estimate."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from command import start
from page import Notebook, Page, Value
from random_llava import save_folder
from sizes import RANK, SCALING, Size
from timing import forget_memory, most_memory
from workload import random_start, samples_of

from fcit_app.model.adapters import parameter_handles, wrap
from fcit_app.model.base import BaseModel, load_base
from fcit_app.model.settings import BaseSettings
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.loop import TrainConfig, fit

FOLDER = Path(tempfile.gettempdir()) / "fcit-random-llava"
"""Where the random base lies, for this page and for the round; 14 GB at full size."""

WEIGHTS, LONGEST = "weights, GiB", "training at most, GiB"
ESTIMATED = "estimated, GiB"
_STEPS = 2
_WAYS = ("checkpointing", "no checkpointing")

Quantization = Literal["none", "nf4"]


def measure(size: Size, device: torch.device, notes: Notebook) -> None:
    """Fill the page."""
    folder = save_folder(size, device, FOLDER / size.name)
    batch = size.training_batches[0]
    kinds: tuple[Quantization, ...] = ("none", "nf4")
    for quantization in kinds:
        kind = "bfloat16" if quantization == "none" else "NF4"
        rows = {f"{kind}, batch {batch}, {way}": way == _WAYS[0] for way in _WAYS}
        lacking = _lacking(device) if quantization == "nf4" else None
        if lacking:
            for name in rows:
                notes.row(name, lambda lacking=lacking: {WEIGHTS: lacking})
        elif any(name not in notes.rows for name in rows):
            _fill(notes, rows, folder, quantization, size)


def _lacking(device: torch.device) -> str | None:
    if device.type != "cuda":
        return "needs a GPU"
    return None if find_spec("bitsandbytes") else "needs bitsandbytes"


def _fill(
    notes: Notebook,
    rows: Mapping[str, bool],
    folder: Path,
    quantization: Quantization,
    size: Size,
) -> None:
    """Load the base once, and train with checkpointing or without, as the rows say."""
    base = load_base(
        BaseSettings(str(folder), quantization=quantization, attention="sdpa", prompt="vicuna-v1")
    )
    gc.collect()  # the base before it goes only now
    weights = _weights(base)
    for name, checkpointing in rows.items():
        notes.row(name, lambda c=checkpointing: _values(base, weights, folder, size, c))


def _values(
    base: BaseModel, weights: float, folder: Path, size: Size, checkpointing: bool
) -> Mapping[str, Value]:
    batch = size.training_batches[0]
    quantized = getattr(base.model, "is_quantized", False)
    expected = _estimated(folder, "nf4" if quantized else "none", checkpointing, batch)
    found: dict[str, Value] = {WEIGHTS: weights, ESTIMATED: expected}
    try:
        _train(base, size, batch, checkpointing)
    except torch.OutOfMemoryError:
        return {**found, LONGEST: "out of memory"}
    return {**found, LONGEST: most_memory(base.device)}


def _weights(base: BaseModel) -> float:
    """GiB of all parameters and of what belongs to packed ones."""
    if base.device.type == "cuda":
        return torch.cuda.memory_allocated(base.device) / 2**30
    return sum(parameter.nbytes for parameter in base.model.parameters()) / 2**30


def _train(base: BaseModel, size: Size, batch: int, checkpointing: bool) -> None:
    adapted = wrap(base, RANK, SCALING, 0.05)
    handles = parameter_handles(adapted, projector=True)
    forget_memory(base.device)
    fit(
        base,
        handles,
        random_start(handles),
        samples_of(base, size, [size.tokens] * batch * _STEPS),
        VisionFeatures(base),
        0,
        TrainConfig(_STEPS, batch, 2e-4, 2e-5, gradient_checkpointing=checkpointing),
    )


def _estimated(folder: Path, quantization: str, checkpointing: bool, batch: int) -> float:
    """Estimate what training takes on a GPU, as ``fcit estimate`` does."""
    from fcit_app.config import parse
    from fcit_app.estimate import training_memory
    from fcit_app.model.sizes import model_sizes

    config = parse(
        {
            "preset": "mini",
            "model.name": str(folder),
            "model.quantization": quantization,
            "model.attention": "sdpa",
            "train.rank": RANK,
            "train.batch-size": batch,
            "train.gradient-checkpointing": checkpointing,
        }
    )
    return training_memory(config, model_sizes(str(folder)), on_gpu=True) / 2**30


PAGE = Page(
    name="memory",
    title="Memory: NF4 against bfloat16",
    text="""
A random base in the shapes of LLaVA-1.5-7B, written to a folder and loaded by
`fcit_app.model.base.load_base`; two steps of `fit` at batch 16 with 680 tokens a sample, rank 8 and
the projector. *Weights*: all tensors after loading. *Training at most*: the highest sum of tensors
while training. *Estimated*: what `fcit estimate` expects of training, with 1.5 GiB for CUDA itself,
which the measured sum does not hold, and 128 tokens beside the picture's instead of 104.
""",
    columns=(WEIGHTS, LONGEST, ESTIMATED),
    targets=(),
)

if __name__ == "__main__":
    start(PAGE, measure)
