"""One federated round of five clients in Flower's simulation engine, phase by phase."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from command import start
from idle import finished_rounds
from memory import FOLDER
from page import Notebook, Page, Rows, Target, Value
from random_llava import save_folder
from sizes import Size

CLIENTS = 5
OUTSIDE = "no client trains"
_SECONDS, _SHARE = "seconds", "% of the round"
_ROUND = ("tasks=figureqa", "rounds=1", f"clients-per-round={CLIENTS}")

# 160 samples a client on average: a third of what a client of the paper's task setting holds, so
# that the page fits a short loan.
_LARGE = (
    "data.train-samples=800",
    "data.test-samples=8",
    "evaluate.batch-size=8",
    "train.epochs=1",
    "train.batch-size=16",
    "train.gradient-checkpointing=true",
    "train.lr=2e-4",
    "train.projector-lr=2e-5",
    "model.attention=sdpa",
    "model.prompt=vicuna-v1",
    "model.pad-to-square=true",
    "client-timeout=3600",
)


def measure(size: Size, device: torch.device, notes: Notebook) -> None:
    """Fill the page."""
    found: dict[str, dict[str, Value]] = {}
    wanted = (*_PHASES, OUTSIDE, _WHOLE)
    if any(name not in notes.rows for name in wanted):
        found = phases(_run(size, device))
    for name in wanted:
        notes.row(name, lambda name=name: found[name])


def command(size: Size, device: torch.device, out: Path) -> list[str]:
    """Write the command of the run; one client at a time on a GPU."""
    sets = list(_ROUND)
    extra = []
    if size.name != "tiny":
        folder = save_folder(size, device, FOLDER / size.name)
        sets += [f"model.name={folder}", *_LARGE]
    if device.type == "cuda":
        extra = ["--client-gpus", "1"]
    program = str(Path(sys.executable).parent / "fcit")
    given = [part for text in sets for part in ("--set", text)]
    clients = ["--clients", str(CLIENTS)]
    return [program, "run", "--preset", "mini", *clients, *extra, *given, "--out", str(out)]


def _run(size: Size, device: torch.device) -> list[dict[str, Any]]:
    # only here: the other pages are measured where the package's requirements are not installed
    from fcit_app.runs.ledger import read_ledger

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        wanted = command(size, device, out)
        # the server and the clients need the memory that making the base has taken here
        if device.type == "cuda":
            torch.cuda.empty_cache()
        subprocess.run(wanted, check=True)
        return read_ledger(out / "ledger.jsonl")


_PHASES = ("configure", "train", "wait", "guard", "aggregate", "save")
_WHOLE = "whole round"


def phases(events: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Value]]:
    """Seconds and shares of a ledger's first round.

    Beside the loop's own phases (``train`` is the slowest client's time, so clients that take turns
    on one GPU wait for each other in ``wait``) the time in which no client trains at all: what
    Flower and our loop cost.
    """
    rounds = finished_rounds(events)
    if not rounds:
        raise SystemExit("The run's ledger holds no finished round.")
    first = rounds[0]
    rows = {name: first.seconds[name] for name in _PHASES}
    rows |= {OUTSIDE: first.idle, _WHOLE: first.whole}
    return {name: {_SECONDS: s, _SHARE: 100 * s / first.whole} for name, s in rows.items()}


def _share(rows: Rows) -> float:
    share: Any = rows[OUTSIDE][_SHARE]
    return float(share)


PAGE = Page(
    name="round",
    title="One federated round of five clients",
    text="""
A whole `fcit run` of one stage and one round in Flower's simulation engine: a random base in the
shapes of LLaVA-1.5-7B, five clients one after the other on one GPU, 800 samples among them,
batch 16 with checkpointing. The phases are those of the run's ledger (`server_app/totals.py`):
`train` is the slowest client's own time, `wait` all other time until the last reply, here mostly
clients waiting for their turn. *No client trains* is the time that Flower and our loop cost: the
round less the union of the clients' own training times, each ended by its reply. Models are loaded
before the round begins.
""",
    columns=(_SECONDS, _SHARE),
    targets=(Target("% of the round in which no client trains", 2.0, _share, at_most=True),),
)

if __name__ == "__main__":
    start(PAGE, measure)
