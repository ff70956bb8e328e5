"""DISCO against fine-tuning over seeds and task orders, with joint training as the reference.

    python benchmarks/forgetting.py --out docs/results.md

Every cell is a real ``fcit run`` into ``runs/forgetting``, or what ``make run`` left in
``runs/mini``; finished cells of the same configuration are kept, so the command can be stopped
and started again.
Seeds draw pictures, shards, participants, adapters and batches.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fcit_app.config import parse
from fcit_app.data.catalogue import TASK_STAGES
from fcit_app.runs import RunFolder, RunResult, read_result

ORDERS: dict[str, tuple[str, ...]] = {
    "published": TASK_STAGES,
    # Ends in another answer format (letters of a title) and lets formats alternate.
    "second": (
        "figureqa",
        "flickr30k",
        "super-clevr",
        "iconqa",
        "arxivqa",
        "imagenet-r",
        "clevr-math",
        "ocr-vqa",
    ),
}
FEDERATED = ("finetune", "disco")
REFERENCES = ("zero-shot", "blind", "centralized")


@dataclass(frozen=True)
class Cell:
    """One run of the table."""

    method: str
    order: str
    seed: int

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        if (self.order, self.seed) == ("published", 0) and self.method != "centralized":
            return Path("runs/mini") / self.method  # what `make run` leaves
        return Path("runs/forgetting") / f"{self.order}-{self.method}-{self.seed}"

    @property
    def command(self) -> list[str]:
        """The command that makes it."""
        tasks = ",".join(ORDERS[self.order])
        given = ["--method", self.method, "--out", str(self.folder), "--force"]
        return ["fcit", "run", *given, "--set", f"seed={self.seed}", "--set", f"tasks={tasks}"]

    def is_done(self) -> bool:
        """Whether its folder holds a finished run of the same configuration."""
        if not (self.folder / "result.json").is_file():
            return False
        tasks = ",".join(ORDERS[self.order])
        wanted = parse({"method": self.method, "seed": self.seed, "tasks": tasks})
        stored = parse(RunFolder(self.folder).read_config())
        same = {"out": "", "tasks": wanted.stages}
        return stored.stages == wanted.stages and (
            stored.model_copy(update=same) == wanted.model_copy(update=same)
        )

    def result(self) -> RunResult:
        """Run it, unless it is finished."""
        if not self.is_done():
            program = [str(Path(sys.executable).parent / "fcit"), *self.command[1:]]
            subprocess.run(program, check=True)
        return read_result(self.folder)


def cells(seeds: Sequence[int], orders: Sequence[str]) -> Iterator[Cell]:
    """Every run of the table: all seeds in the first order, the first seed in the others."""
    for seed in seeds:
        for order in orders if seed == seeds[0] else orders[:1]:
            for method in FEDERATED:
                yield Cell(method, order, seed)
        for method in REFERENCES if seed == seeds[0] else ("centralized",):
            yield Cell(method, "published", seed)


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = statistics.fmean(known)
    return f"{mean:.1f}" if len(known) < 2 else f"{mean:.1f} ± {statistics.stdev(known):.1f}"


def page(found: dict[Cell, RunResult], seeds: Sequence[int], orders: Sequence[str]) -> str:
    """Tables of means and of every seed, with the commands."""
    tasks = list(TASK_STAGES)
    lines = [
        "# Results on the mini benchmark",
        "",
        "Made by `python benchmarks/forgetting.py --out docs/results.md`; every number is a "
        "percentage of right answers on 150 test samples. Mean ± standard deviation over seeds "
        f"{', '.join(map(str, seeds))}; without ±, seed {seeds[0]} alone.",
        "",
        "| order | method | " + " | ".join(tasks) + " | Last | Avg | BWT |",
        "|---" * (len(tasks) + 5) + "|",
    ]
    for order in orders:
        for method in ("zero-shot", "blind", *FEDERATED, "centralized"):
            runs = [r for c, r in found.items() if (c.order, c.method) == (order, method)]
            if not runs:
                continue
            rows = [dict(zip(r.tasks, (r.accuracy or [])[-1], strict=True)) for r in runs]
            values = [_spread([row[task] for row in rows]) for task in tasks]
            values += [_spread([getattr(r, k) for r in runs]) for k in ("last", "avg")]
            values.append(_spread([r.backward_transfer for r in runs]))
            lines.append(f"| {order} | {method} | " + " | ".join(values) + " |")
    lines += [
        "",
        "## Every seed",
        "",
        "| order | seed | finetune Last | DISCO Last | difference | joint training Last "
        "| subspaces | DISCO seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for order in orders:
        for seed in seeds if order == orders[0] else seeds[:1]:
            tuned, disco = (found[Cell(method, order, seed)] for method in FEDERATED)
            joint = found[Cell("centralized", "published", seed)]
            assert tuned.last is not None and disco.last is not None and joint.last is not None
            lines.append(
                f"| {order} | {seed} | {tuned.last:.1f} | {disco.last:.1f} "
                f"| {disco.last - tuned.last:+.1f} | {joint.last:.1f} "
                f"| {len(disco.subspaces or [])} | {disco.seconds.total or 0:.0f} |"
            )
    lines += ["", "## Commands", "", "```"]
    lines += [" ".join(cell.command) for cell in found]
    lines += ["```", ""]
    return "\n".join(lines)


def main(
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0,1,2",
    orders: Annotated[str, typer.Option(help="Task orders, separated by commas.")] = (
        "published,second"
    ),
    out: Annotated[Path | None, typer.Option(help="Markdown file for the tables.")] = None,
) -> None:
    """Run what is missing, print the tables, and write them if asked to."""
    chosen_seeds, chosen_orders = [int(seed) for seed in seeds.split(",")], orders.split(",")
    todo = list(cells(chosen_seeds, chosen_orders))
    missing = [cell for cell in todo if not cell.is_done()]
    typer.echo(f"{len(missing)} of {len(todo)} runs to do, about two minutes each on two cores")
    started, found = time.monotonic(), {}
    for number, cell in enumerate(todo, start=1):
        typer.echo(f"[{number}/{len(todo)}] {time.monotonic() - started:.0f} s  {cell.folder}")
        found[cell] = cell.result()
    text = page(found, chosen_seeds, chosen_orders)
    typer.echo(text)
    if out is not None:
        out.write_text(text)


if __name__ == "__main__":
    typer.run(main)
