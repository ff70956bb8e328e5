"""Is every mini task a task? Each one tuned alone, against its three blind controls and zero-shot.

    python benchmarks/learnability.py --out benchmarks/learnability.md

One adapter a task, trained in one place with as many steps as one stage of the federation has in a
row. ``--split validation`` (the default here) keeps test samples out of every choice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from fcit_app.config import parse
from fcit_app.data.catalogue import TASK_NAMES
from fcit_app.data.load import load_benchmark
from fcit_app.evaluate.evaluator import Evaluator
from fcit_app.model.bank import Bank
from fcit_app.reference.blind import controls


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
    held_out = {"validation": benchmark.validation_samples, "test": benchmark.test_samples}[split]
    for task in tasks.split(",") if tasks else TASK_NAMES:
        training, asked = benchmark.training_samples(task), held_out(task)
        adapter, blind = controls(evaluator, training, asked, steps)
        zero_shot = evaluator.accuracy_on(Bank(), asked)
        tuned = evaluator.accuracy_on(adapter, asked)
        shown = " | ".join(f"{value:.1f}" for value in (zero_shot, *blind.values(), tuned))
        lines.append(f"| {task} | {shown} | {tuned - max(blind.values()):+.1f} |")
        typer.echo(lines[-1])
    if out is not None:
        out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
