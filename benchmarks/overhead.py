"""How much of a mini round no client trains: what Flower and the loop cost.

    python benchmarks/overhead.py --out benchmarks/results/overhead.md

Real `fcit run`s of preset mini with two tasks, one after the other. A run's first round is apart:
its clients' processes start in it and load the base.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "gpu")]

from idle import Round, finished_rounds  # noqa: E402

from fcit_app.runs.ledger import read_ledger  # noqa: E402

KINDS = ("first of the run", "first of a later stage", "later of a stage")


def kind_of(found: Round) -> str:
    """Say what kind of round it is."""
    if found.number > 1:
        return KINDS[2]
    return KINDS[0] if found.stage == 1 else KINDS[1]


def one_run(out: Path, rounds: int) -> list[Round]:
    """Play a run and read its rounds."""
    program = str(Path(sys.executable).parent / "fcit")
    given = ["--set", "tasks=dvqa,figureqa", "--set", f"rounds={rounds}"]
    subprocess.run([program, "run", "--method", "disco", *given, "--out", str(out)], check=True)
    return finished_rounds(read_ledger(out / "ledger.jsonl"))


def row(what: str, rounds: Sequence[Round]) -> str:
    """Write a line of the table; a share is that of the sums."""
    idle, whole = [r.idle for r in rounds], [r.whole for r in rounds]
    share = 100 * sum(idle) / sum(whole)
    seconds = f"{statistics.mean(idle):.3f} ({min(idle):.3f} to {max(idle):.3f})"
    return f"| {what} | {len(rounds)} | {seconds} | {statistics.mean(whole):.2f} | {share:.1f} % |"


def table(rounds: Sequence[Round]) -> str:
    """Write the table of all runs' rounds."""
    lines = [
        "| round | n | seconds in which no client trains, mean (range) | seconds, mean | share |",
        "|---|---|---|---|---|",
    ]
    for kind in KINDS:
        chosen = [r for r in rounds if kind_of(r) == kind]
        if chosen:
            lines.append(row(kind, chosen))
    lines.append(row("all but the first of a run", [r for r in rounds if kind_of(r) != KINDS[0]]))
    return "\n".join(lines) + "\n"


def main(
    out: Annotated[Path | None, typer.Option(help="Markdown file for the table.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="How many runs.")] = 3,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds of a stage; mini has three.")] = 3,
) -> None:
    """Print the table, and write it if asked to."""
    with tempfile.TemporaryDirectory(prefix="fcit-overhead-") as folder:
        found = [r for n in range(runs) for r in one_run(Path(folder) / str(n), rounds)]
    typer.echo(table(found))
    if out is not None:
        out.write_text(table(found), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
