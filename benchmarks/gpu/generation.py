"""Answering: a bank of eight subspaces against one adapter and against the official way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from command import start
from official import official_layers
from page import Notebook, Page, Rows, Target, Value
from peft.tuners.lora import LoraLayer
from random_llava import build_base
from sizes import RANK, SCALING, SUBSPACES, Size
from timing import forget_memory, median_seconds, most_memory
from torch import Tensor
from workload import random_bank, samples_of

from fcit_app.evaluate.answer import answer
from fcit_app.model.adapters import load_parameters_, parameter_handles, wrap
from fcit_app.model.bank import Bank
from fcit_app.model.base import BaseModel
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures

OFFICIAL = "official way, 8 subspaces"
ONE = "one adapter"
BANK = "ours, bank of 8 subspaces"
MERGED = "one adapter, merged"

_SECONDS = "seconds"
_OF_ONE, _OF_OFFICIAL = "time ÷ one adapter's", "× official"


@dataclass(frozen=True)
class Unweighted:
    """Stands in for a bank's session where there are no weights to set."""

    base: BaseModel

    def weighted(self, weights: Tensor) -> AbstractContextManager[None]:
        """Set nothing."""
        return nullcontext()


Way = Callable[[BaseModel, Bank], AbstractContextManager[Any]]


@contextmanager
def officially(base: BaseModel, bank: Bank) -> Iterator[Unweighted]:
    """Rebuild the layers at each token."""
    assert base.adapted is not None
    adapters = [subspace.adapter for subspace in bank.subspaces]
    weights = [1 / len(adapters)] * len(adapters)
    with official_layers(base.adapted, adapters, weights, SCALING):
        yield Unweighted(base)


@contextmanager
def with_one_adapter(base: BaseModel, bank: Bank) -> Iterator[Unweighted]:
    """Let PEFT apply the first subspace's adapter beside the frozen layers."""
    assert base.adapted is not None
    handles = parameter_handles(base.adapted, projector=False)
    load_parameters_(handles, bank.subspaces[0].adapter)
    yield Unweighted(base)


@contextmanager
def with_one_merged(base: BaseModel, bank: Bank) -> Iterator[BankSession]:
    """Add the first subspace's adapter to the frozen weights, and take it off again."""
    assert base.adapted is not None
    layers = {n: m for n, m in base.adapted.named_modules() if isinstance(m, LoraLayer)}
    former = {}
    with torch.no_grad():
        for name, layer in layers.items():
            weight = layer.get_base_layer().weight
            former[name] = weight.detach().to("cpu", copy=True)
            below, above = (
                torch.from_numpy(bank.subspaces[0].adapter[f"{name}.lora_{part}.weight"]).to(weight)
                for part in ("A", "B")
            )
            weight += SCALING * above @ below
    try:
        with BankSession(base, Bank()) as session:
            yield session
    finally:
        with torch.no_grad():
            for name, layer in layers.items():
                layer.get_base_layer().weight.copy_(former[name])


WAYS: Mapping[str, Way] = {
    OFFICIAL: officially,
    ONE: with_one_adapter,
    BANK: BankSession,
    MERGED: with_one_merged,
}
"""In the order in which they are measured."""


def measure(size: Size, device: torch.device, notes: Notebook) -> None:
    """Fill the page."""
    base = build_base(size, device)
    adapted = wrap(base, RANK, SCALING)
    bank = random_bank(parameter_handles(adapted, projector=False))
    # the tokens of an answer come in the course of the row
    length = size.tokens - size.answer_tokens
    samples = samples_of(base, size, [length] * max(size.generation_batches))
    weights = torch.full((len(samples), SUBSPACES), 1 / SUBSPACES)
    vision = VisionFeatures(base)
    for way, installed in WAYS.items():
        with installed(base, bank) as session:
            for batch in size.generation_batches:

                def values(way: str = way, session: Any = session, batch: int = batch) -> Values:
                    forget_memory(device)
                    seconds = median_seconds(
                        lambda: answer(session, samples[:batch], vision, weights[:batch], batch),
                        device,
                        size.repeats,
                    )
                    return {
                        "answers/s": batch / seconds,
                        _SECONDS: seconds,
                        **_ratios(notes.rows, batch, seconds),
                        "GiB at most": most_memory(device),
                    }

                notes.row(f"{way}, batch {batch}", values)


Values = Mapping[str, Value]


def _ratios(rows: Rows, batch: int, seconds: float) -> dict[str, Value]:
    """How much time it takes, and how much faster it is, than what was measured before it."""
    one = rows.get(f"{ONE}, batch {batch}", {}).get(_SECONDS)
    official = rows.get(f"{OFFICIAL}, batch {batch}", {}).get(_SECONDS)
    return {
        _OF_ONE: seconds / one if isinstance(one, float) else None,
        _OF_OFFICIAL: official / seconds if isinstance(official, float) else None,
    }


def _per_answer(rows: Rows, name: str, batch: int) -> float:
    seconds: Any = rows[f"{name}, batch {batch}"][_SECONDS]
    return float(seconds) / batch


PAGE = Page(
    name="generation",
    title="Answers with eight subspaces",
    text="""
Greedy answers of 10 tokens to prompts that, with the answer, come to 680 tokens, by
`fcit_app.evaluate.answer` in all rows; random weights in the shapes of LLaVA-1.5-7B, bfloat16,
features of the pictures cached. *Ours*: subspace selective activation as one stacked adapter
(`fcit_app/model/stacked.py`). *Official way*: the two concatenated layers built anew in each layer
at each token (`benchmarks/gpu/official.py`); the released code evaluates at batch 1 only, since one
set of weights holds for the whole batch, so its larger batches are shown for the rebuilding alone.
*Merged*: what one adapter costs at best. Medians after two answers that are not counted, all in one
process.
""",
    columns=("answers/s", _SECONDS, _OF_ONE, _OF_OFFICIAL, "GiB at most"),
    targets=(
        Target(
            "time of the bank ÷ one unmerged adapter's, batch 32",
            1.15,
            lambda rows: _per_answer(rows, BANK, 32) / _per_answer(rows, ONE, 32),
            at_most=True,
        ),
        Target(
            "answers/s at batch 32 ÷ the official way's as it evaluates (batch 1)",
            10.0,
            lambda rows: _per_answer(rows, OFFICIAL, 1) / _per_answer(rows, BANK, 32),
        ),
    ),
)

if __name__ == "__main__":
    start(PAGE, measure)
