"""What a resident worker saves: processor time, and seconds from process to reply, of a message.

    python benchmarks/resident.py --out benchmarks/results/resident.md

Every message is a process of its own, as in a deployment, and takes turns with the same message
without a resident (``client-resident = 0``), so that both sides see the same machine. Processor
time, the resident's share included, is what a busy machine does not change. The larger base is a
random LLaVA of about 300 MB, to show what loading costs.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from safetensors.numpy import load, save

ROOT = Path(__file__).resolve().parents[1]


def message(config: str, kind: str, start: str, owner: str) -> None:
    """Do what Flower's process for one message does, less Flower's own messages."""
    sys.argv = ["flwr-clientapp", "--parent-pid", owner]
    import client_app.app  # noqa: F401  Flower and the handlers
    from client_app.node import worker_of

    worker = worker_of(json.loads(config))
    if kind == "prepare":
        worker.prepare()
    elif kind == "token":
        worker.token(1, 0, 5)
    else:
        worker.train(load(Path(start).read_bytes()), 1, 1, 0, 5)


def cost(config: dict[str, object], kind: str, start: Path) -> tuple[float, float]:
    """Processor seconds of one message and its resident, and wall seconds of its process."""
    arguments = [json.dumps(config), kind, str(start), str(os.getpid())]
    code = "import sys; from resident import message; message(*sys.argv[1:])"
    search = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])
    began, spent = time.perf_counter(), processor_seconds()
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": search},
        check=True,
    )
    return processor_seconds() - spent, time.perf_counter() - began


def processor_seconds() -> float:
    """Processor time so far of all ended messages and of the resident there is."""
    from client_app.resident.place import open_place

    record = open_place(os.getpid()).read()
    process = record.process() if record else None
    resident = sum(process.cpu_times()[:2]) if process else 0.0
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return float(ended.ru_utime + ended.ru_stime + resident)


def rows(name: str, config: dict[str, object], start: Path, repeats: int) -> list[str]:
    """Lines of the table for one base."""
    from client_app.resident.place import open_place

    without = {**config, "client-resident": 0}
    lines = []
    for kind, times in (("prepare", 1), ("token", repeats), ("train", repeats)):
        pairs = [(cost(without, kind, start), cost(config, kind, start)) for _ in range(times)]
        cells = [name, f"{kind} (starts the resident)" if kind == "prepare" else kind, str(times)]
        for quantity in range(2):  # processor, wall
            sides = [[side[quantity] for side in pair] for pair in pairs]
            before, after = (statistics.median(side) for side in zip(*sides, strict=True))
            ratio = statistics.median(a / b for a, b in sides)
            cells += [f"{before:.1f}", f"{after:.1f}", f"{ratio:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
        typer.echo(lines[-1])
    open_place(os.getpid()).clear()
    return lines


def save_start(config: dict[str, object], file: Path) -> None:
    """Write an adapter to train from."""
    from fcit_app.config import parse
    from fcit_app.model.adapters import initial_adapter, parameter_handles, wrap
    from fcit_app.model.base import load_base

    run = parse(config)
    model = wrap(load_base(run.model), run.train.rank, run.train.scaling, run.train.dropout)
    file.write_bytes(save(initial_adapter(parameter_handles(model, projector=False), 0)))


def main(
    repeats: Annotated[int, typer.Option(help="Messages of each kind, base and side.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Markdown file for the table.")] = None,
) -> None:
    """Print the table, and write it if asked to."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from tiny_llava import save_tiny_llava

    lines = [
        "| base | message | times | processor, without (s) | resident | ratio | wall, without (s) "
        "| resident | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    typer.echo("\n".join(lines))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        large = save_tiny_llava(folder / "large", hidden=640, ffn=2560, layers=6)
        size = sum(file.stat().st_size for file in large.iterdir()) / 1e6
        for name, model in ((f"random, {size:.0f} MB", str(large)), ("mini", "mini")):
            config: dict[str, object] = {
                "preset": "mini-smoke",
                "projector": "frozen",
                "train.steps": 2,
                "model.name": model,
                "out": "/nowhere",
            }
            save_start(config, folder / "start.safetensors")
            lines += rows(name, config, folder / "start.safetensors", repeats)
    if out is not None:
        out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
