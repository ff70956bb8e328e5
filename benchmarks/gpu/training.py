"""LoRA training: the product's own loop beside a plain one, and how much of the peak they use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from command import start
from page import Notebook, Page, Rows, Target, Value
from plain_peft import train_plainly
from random_llava import build_base
from sizes import RANK, SCALING, Size
from timing import (
    StepClock,
    device_name,
    forget_memory,
    measured_peak,
    most_memory,
    stated_peak,
)
from workload import mixed_lengths, random_start, samples_of

from fcit_app.data.sample import Sample
from fcit_app.model.adapters import parameter_handles, wrap
from fcit_app.model.base import BaseModel
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.loop import TrainConfig, fit

DROPOUT = 0.05
PEAK = "one large bfloat16 product"
GROUP = 2
"""Batches a step in the row of mixed lengths, where the product groups rows by length."""

_SPEED, _RATIO = "samples/s", "× plain"
_OURS, _PLAIN = "ours, batch {}, {}", "plain PEFT, batch {}"
_KINDS = ("no checkpointing", "checkpointing")


def measure(size: Size, device: torch.device, notes: Notebook) -> None:
    """Fill the page."""
    notes.row(PEAK, lambda: {"TFLOP/s": measured_peak(size, device)})
    base = build_base(size, device)
    wrap(base, RANK, SCALING, DROPOUT)
    run = _Runs(base, size, device, notes)
    for batch in size.training_batches:
        even = samples_of(base, size, [size.tokens] * batch * size.steps)
        run.plain(_PLAIN.format(batch), even, batch)
        for kind in _KINDS[::-1]:
            checkpointing = kind == "checkpointing"
            config = _config(batch, checkpointing=checkpointing)
            name, beside = _OURS.format(batch, kind), _PLAIN.format(batch)
            run.ours(name, even, config, beside)
    batch = size.training_batches[0]
    mixed = samples_of(base, size, mixed_lengths(size, GROUP * batch * size.steps))
    beside = f"mixed lengths: plain PEFT, batch {batch}"
    run.plain(beside, mixed[: batch * size.steps], batch)
    config = _config(batch, checkpointing=True, accumulation=GROUP, group_by_length=True)
    run.ours(f"mixed lengths: ours, {GROUP} × {batch} grouped", mixed, config, beside)


class _Runs:
    """Measures rows with one base."""

    def __init__(self, base: BaseModel, size: Size, device: torch.device, notes: Notebook) -> None:
        self._base, self._size, self._device, self._notes = base, size, device, notes

    def ours(self, name: str, samples: Sequence[Sample], config: TrainConfig, beside: str) -> None:
        assert self._base.adapted is not None
        handles = parameter_handles(self._base.adapted, projector=True)
        arrays = random_start(handles)

        def train(clock: StepClock) -> None:
            vision = VisionFeatures(self._base, workers=self._size.workers)
            fit(self._base, handles, arrays, samples, vision, 0, config, on_step=clock)

        step = config.batch_size * config.accumulation
        self._row(name, train, step, config.gradient_checkpointing, beside)

    def plain(self, name: str, samples: Sequence[Sample], batch: int) -> None:
        workers = self._size.workers
        self._row(
            name,
            lambda clock: train_plainly(self._base, samples, batch, workers, clock),
            batch,
            True,
        )

    def _row(
        self,
        name: str,
        train: Callable[[StepClock], None],
        step: int,
        checkpointing: bool,
        beside: str | None = None,
    ) -> None:
        def values() -> Mapping[str, Value]:
            clock = StepClock(self._device)
            forget_memory(self._device)
            try:
                train(clock)
            except torch.OutOfMemoryError:
                return {_SPEED: "out of memory"}
            plain = self._notes.rows.get(beside or "", {}).get(_SPEED)
            speed = step / clock.median
            found = self._arithmetic(speed, checkpointing)
            ratio = speed / plain if isinstance(plain, float) else None
            return {**found, _RATIO: ratio, "GiB at most": most_memory(self._device)}

        self._notes.row(name, values)

    def _arithmetic(self, speed: float, checkpointing: bool) -> dict[str, Value]:
        """Speed in several units, from samples a second."""
        tokens = speed * self._size.tokens
        # forward 2, backward through frozen weights 2, forward once more 2 (peers.md counts so)
        factor = 6 if checkpointing else 4
        rate = factor * self._size.decoder_weights * tokens / 1e12
        stated, measured = stated_peak(device_name(self._device)), self._notes.rows[PEAK]["TFLOP/s"]
        assert isinstance(measured, float)
        return {
            _SPEED: speed,
            "tokens/s": tokens,
            "TFLOP/s": rate,
            "% of stated peak": None if stated is None else 100 * rate / stated,
            "% of measured peak": 100 * rate / measured,
        }


def _config(
    batch: int, checkpointing: bool, accumulation: int = 1, group_by_length: bool = False
) -> TrainConfig:
    """One epoch as in the paper's presets."""
    return TrainConfig(
        steps=1,
        epochs=1,
        batch_size=batch,
        accumulation=accumulation,
        learning_rate=2e-4,
        projector_learning_rate=2e-5,
        max_gradient_norm=None,
        group_by_length=group_by_length,
        gradient_checkpointing=checkpointing,
    )


def _best(kind: str) -> Callable[[Rows], float]:
    """Give samples a second of the batch that does best."""

    def find(rows: Rows) -> float:
        found = [v[_SPEED] for n, v in rows.items() if n.startswith("ours") and n.endswith(kind)]
        speeds = [speed for speed in found if isinstance(speed, float)]
        if not speeds:
            raise KeyError(kind)
        return max(speeds)

    return find


PAGE = Page(
    name="training",
    title="LoRA training of LLaVA-1.5-7B",
    text="""
Random weights in the shapes of LLaVA-1.5-7B, rank 8 on the feed-forward layers and the projector,
dropout 0.05, bfloat16 base; 680 tokens a sample, 576 of them the picture's; JPEG pictures of
640 × 480, each decoded, scaled and put through the vision tower once, within the time measured.
*Ours* is `fcit_app.train.loop.fit` as a client calls it; *plain PEFT* is
`benchmarks/gpu/plain_peft.py`, written the way the released code works. Mixed lengths: 616 to 744
tokens, ours two batches a step, grouped by length. Medians of steps after two that are not
counted, both sides in one process. TFLOP/s: 4 operations a token and weight of the decoder's linear
layers (forward, backward through frozen weights), 6 with checkpointing; neither vision tower nor
attention nor adapters are counted.
""",
    columns=(
        _SPEED,
        "tokens/s",
        "TFLOP/s",
        "% of stated peak",
        "% of measured peak",
        "GiB at most",
        _RATIO,
    ),
    targets=(
        Target("samples/s without checkpointing", 22.0, _best(f", {_KINDS[0]}")),
        Target("samples/s with checkpointing", 14.7, _best(f", {_KINDS[1]}")),
    ),
)

if __name__ == "__main__":
    start(PAGE, measure)
