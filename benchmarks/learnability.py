"""Is every mini task a task? Each one tuned alone, against its three blind controls and zero-shot.

    python benchmarks/learnability.py --out benchmarks/learnability.md

One adapter a task, trained in one place with as many steps as one stage of the federation has in a
row. ``--split validation`` (the default here) keeps test samples out of every choice.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer

from fcit_app.config import parse
from fcit_app.data.catalogue import TASK_NAMES
from fcit_app.data.load import Benchmark, load_benchmark
from fcit_app.data.partition import seed_of
from fcit_app.evaluate.evaluator import Evaluator, percent_right
from fcit_app.model.bank import Bank
from fcit_app.reference.blind import exchange_pictures
from fcit_app.reference.tuning import tune


@dataclass(frozen=True)
class Row:
    """One task's numbers in percent."""

    task: str
    zero_shot: float
    exchanged: float
    trained_blind: float
    majority: float
    tuned: float

    @property
    def gain(self) -> float:
        """Points above the strictest blind control."""
        return self.tuned - max(self.exchanged, self.trained_blind, self.majority)


def measure(
    evaluator: Evaluator, benchmark: Benchmark, task: str, split: str, seed: int, steps: int
) -> Row:
    """Tune the base on one task alone, seeing and blind, and score both."""
    config = evaluator.config
    held_out = {"validation": benchmark.validation_samples, "test": benchmark.test_samples}
    asked, training = held_out[split](task), benchmark.training_samples(task)
    unseen = exchange_pictures(asked, seed_of(seed, "blind", task, split))
    blinded = exchange_pictures(training, seed_of(seed, "blind", task, "train"))
    seeing = tune(evaluator, config, training, steps, f"{task} seeing")
    blind = tune(evaluator, config, blinded, steps, f"{task} blind")
    ((most, _),) = Counter(sample.answer for sample in asked).most_common(1)
    return Row(
        task,
        evaluator.accuracy_on(Bank(), asked),
        evaluator.accuracy_on(seeing, unseen),
        evaluator.accuracy_on(blind, unseen),
        percent_right(asked, [most] * len(asked)),
        evaluator.accuracy_on(seeing, asked),
    )


def main(
    model: Annotated[str, typer.Option(help="mini, or the folder of a base.")] = "mini",
    tasks: Annotated[str, typer.Option(help="Task names; all twelve by default.")] = "",
    split: Annotated[str, typer.Option(help="validation or test.")] = "validation",
    seed: Annotated[int, typer.Option(help="Draws samples and adapters.")] = 0,
    steps: Annotated[int, typer.Option(help="Optimiser steps of each adapter.")] = 60,
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE")] = None,
    out: Annotated[Path | None, typer.Option(help="Markdown file for the table.")] = None,
) -> None:
    """Print the table, and write it if asked to."""
    torch.set_num_threads(1)
    given = dict(text.split("=", 1) for text in settings or [])
    config = parse({"preset": "mini", "seed": seed, "model.name": model, **given})
    benchmark = load_benchmark(config)
    evaluator = Evaluator(config, benchmark)
    lines = [
        f"| task ({split}, seed {seed}) | zero-shot | exchanged | trained blind | majority | tuned "
        "| gain |",
        "|---|---|---|---|---|---|---|",
    ]
    typer.echo("\n".join(lines))
    for task in tasks.split(",") if tasks else TASK_NAMES:
        row = measure(evaluator, benchmark, task, split, seed, steps)
        numbers = (row.zero_shot, row.exchanged, row.trained_blind, row.majority, row.tuned)
        shown = " | ".join(f"{number:.1f}" for number in numbers)
        lines.append(f"| {task} | {shown} | {row.gain:+.1f} |")
        typer.echo(lines[-1])
    if out is not None:
        out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
