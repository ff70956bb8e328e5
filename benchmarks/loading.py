"""What threads that prepare pictures, and features on disk, save of a client's training.

    python benchmarks/loading.py --out benchmarks/results/loading.md

One pass over JPEG files of 640 × 480 by the product's own ``fit``, with a random LLaVA at CLIP's
336 pixels, on a CPU with one thread for the model, as clients have it. Two towers: one whose work
is less than opening and processing a picture, as a GPU's is, and one whose work is more. The sides
take turns, so that all see the same machine; a ratio is the median over the turns.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "gpu")]

from random_llava import build_base  # noqa: E402
from sizes import RANK, SCALING, SIZES  # noqa: E402
from workload import random_start  # noqa: E402

from fcit_app.data.folder.private import private_samples  # noqa: E402
from fcit_app.data.sample import Sample, picture_of  # noqa: E402
from fcit_app.model.adapters import parameter_handles, wrap  # noqa: E402
from fcit_app.model.base import BaseModel  # noqa: E402
from fcit_app.model.threads import use_one_thread  # noqa: E402
from fcit_app.model.towers import CHUNK, picture_inputs, tower_features  # noqa: E402
from fcit_app.model.vision import padded_to_square, vision_features  # noqa: E402
from fcit_app.train.loop import TrainConfig, fit  # noqa: E402

TOWERS = {"small": (1, 32, 64), "large": (3, 128, 512)}
"""Layers, width and inner width."""


@dataclass(frozen=True)
class Side:
    """One row: the two keys of a run's configuration."""

    name: str
    workers: int = 0
    feature_cache: str = ""


def random_base(tower: str) -> BaseModel:
    """Make a LLaVA whose language model is next to nothing."""
    layers, width, inner = TOWERS[tower]
    size = replace(
        SIZES["tiny"],
        image=336,
        patch=14,
        hidden=32,
        ffn=32,
        layers=1,
        vision_layers=layers + 1,  # features are those of the last layer but one
        vision_hidden=width,
        vision_ffn=inner,
    )
    torch.manual_seed(0)
    base = build_base(size, torch.device("cpu"))
    wrap(base, RANK, SCALING)
    return base


def pictures(folder: Path, count: int) -> tuple[Sample, ...]:
    """Write JPEG files and a JSON that names them; read it as a client does."""
    records = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((640, 480)).save(folder / f"{number}.jpg", quality=90)
        talk = [{"from": "human", "value": "<image>\nw1 w2"}, {"from": "gpt", "value": "w3"}]
        records.append({"image": f"{number}.jpg", "conversations": talk})
    (folder / "train.json").write_text(json.dumps(records))
    return private_samples(folder, "private/benchmark").samples


def seconds(base: BaseModel, samples: Sequence[Sample], side: Side) -> float:
    """Train for one pass, with nothing in memory."""
    assert base.adapted is not None
    handles = parameter_handles(base.adapted, projector=False)
    config = TrainConfig(1, 8, 1e-4, 1e-4, epochs=1)
    vision = vision_features(base, side)
    began = time.perf_counter()
    fit(base, handles, random_start(handles), samples, vision, 0, config)
    return time.perf_counter() - began


def processor_times(base: BaseModel, samples: Sequence[Sample]) -> tuple[float, float]:
    """Processor time a picture in ms: to open and process it, and of the tower."""
    mean = base.processor.image_processor.image_mean
    began = time.process_time()
    squares = [padded_to_square(picture_of(sample), mean) for sample in samples]
    made = [picture_inputs(base, picture) for picture in squares]
    opened = time.process_time()
    for start in range(0, len(made), CHUNK):
        tower_features(base, made[start : start + CHUNK])
    ended = time.process_time()
    return 1e3 * (opened - began) / len(samples), 1e3 * (ended - opened) / len(samples)


def rows(tower: str, count: int, turns: int) -> list[str]:
    """Lines of the table for one tower."""
    base = random_base(tower)
    lines = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        samples = pictures(folder, count)
        cache = str(folder / "cache")
        sides = [
            Side("`data.workers` 0"),
            *(Side(f"`data.workers` {workers}", workers) for workers in (1, 2, 4)),
            Side("`data.feature-cache`, filled", 0, cache),
            Side("`data.feature-cache`, filled, `data.workers` 2", 2, cache),
        ]
        seconds(base, samples, Side("fills the folder and the page cache", 0, cache))
        size = sum(file.stat().st_size for file in Path(cache).rglob("*.safetensors"))
        before, after = processor_times(base, samples)
        taken = [[seconds(base, samples, side) for side in sides] for _ in range(turns)]
    for place, side in enumerate(sides):
        speed = count / statistics.median(turn[place] for turn in taken)
        ratio = statistics.median(turn[0] / turn[place] for turn in taken)
        lines.append(f"| {tower} | {side.name} | {speed:.1f} | {ratio:.2f} |")
    lines.append(f"| {tower} | processor ms a picture: open and process | {before:.1f} | |")
    lines.append(f"| {tower} | processor ms a picture: tower | {after:.1f} | |")
    lines.append(f"| {tower} | bytes of a picture's features on disk | {size // count:,} | |")
    typer.echo("\n".join(lines))
    return lines


def main(
    count: Annotated[int, typer.Option(help="Pictures.")] = 48,
    turns: Annotated[int, typer.Option(help="Passes of each side.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Markdown file for the table.")] = None,
) -> None:
    """Print the table, and write it if asked to."""
    use_one_thread()
    load = f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start"
    lines = [f"{load}, {count} pictures, {turns} turns.", ""]
    lines += ["| tower | side | samples/s | ratio |", "|---|---|---|---|"]
    for tower in TOWERS:
        lines += rows(tower, count, turns)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
