"""Bytes on the wire of a deployment, counted at the sockets, beside those in the ledger.

    python benchmarks/wire.py --out benchmarks/results/wire.md

A real SuperLink and real SuperNodes on loopback; each SuperNode reaches the SuperLink through a
proxy that counts what passes. The ledger counts the bytes of arrays. The base is a random LLaVA
whose adapters have megabytes, as of a model worth sending.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = 2

SETTINGS: dict[str, object] = {
    "preset": "mini-smoke",
    "method": "finetune",
    "tasks": "figureqa",
    "rounds": 3,
    "clients-per-round": CLIENTS,
    "train.steps": 2,
    "train.batch-size": 4,
    "data.train-samples": 40,
    "data.test-samples": 4,
    "data.min-samples": 4,
    "client-timeout": 300.0,
}


CASES = (("none", 256), ("bf16", 256), ("none", 8))
"""Codecs and ranks: messages of megabytes, and small ones, of which Flower's own part is larger."""


class Proxy:
    """Passes TCP connections on and counts their bytes.

    Parameters
    ----------
    port : int
        Where to, on this machine.

    Attributes
    ----------
    port : int
        Where it listens.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._counts: list[tuple[float, int, int]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def bytes_between(self, start: float, end: float) -> tuple[int, int]:
        """Give the bytes to the SuperLink and from it, between two times since the epoch."""
        found = [entry for entry in list(self._counts) if start <= entry[0] < end]
        return sum(entry[1] for entry in found), sum(entry[2] for entry in found)

    def _accept(self) -> None:
        while True:
            here, _ = self._listener.accept()
            there = socket.create_connection(("127.0.0.1", self._target))
            for source, sink, up in ((here, there, True), (there, here, False)):
                threading.Thread(target=self._pump, args=(source, sink, up), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        try:
            while content := source.recv(1 << 16):
                sink.sendall(content)
                size = len(content)
                self._counts.append((time.time(), size if up else 0, 0 if up else size))
        except OSError:
            pass  # either side has gone
        finally:
            for side in (source, sink):
                side.close()


def measured(folder: Path, model: Path, codec: str, rank: int) -> list[str]:
    """Run a federation; give lines of the table: each round, then all of it."""
    from deployed import Federation, finished, wait_until

    federation = Federation(folder, secure=False, authenticated=False, clients=CLIENTS)
    try:
        federation.start_superlink()
        proxies = [Proxy(federation.port) for _ in range(CLIENTS)]
        for client, proxy in enumerate(proxies):
            address = f"--superlink 127.0.0.1:{proxy.port}"
            command = federation.node_command(client, superlink=address)
            node = federation.start(f"node-{client}", command)
            wait_until(partial(node.says, "SuperNode ID:"), node, 300)
        began = time.time()
        settings = {**SETTINGS, "model.name": str(model), "codec": codec, "train.rank": rank}
        run = finished(federation, folder / "run", settings)
        events = run.ledger.read()
        result = run.read_result()
    finally:
        federation.close()

    def wire(start: float, end: float) -> dict[str, int]:
        sums = [proxy.bytes_between(start, end) for proxy in proxies]
        return {"up": sum(up for up, _ in sums), "down": sum(down for _, down in sums)}

    lines, name = [], f"{codec}, rank {rank}"
    ends = {e["round"]: e for e in events if e["event"] == "round-finished"}
    starts = {e["round"]: e["time"] for e in events if e["event"] == "round-started"}
    for number, event in sorted(ends.items()):
        lines.append(
            row(name, f"round {number}", event["bytes"], wire(starts[number], event["time"]))
        )
    total: dict[str, Any] = result.bytes.model_dump()
    lines.append(row(name, "whole run", total, wire(began, time.time())))
    return lines


def row(name: str, what: str, ledger: Mapping[str, Any], wire: Mapping[str, int]) -> str:
    """Write a line of the table, in MB."""
    cells = [name, what]
    for way in ("up", "down"):
        more = 100 * (wire[way] / ledger[way] - 1)
        cells += [f"{ledger[way] / 1e6:.3f}", f"{wire[way] / 1e6:.3f}", f"{more:+.2f} %"]
    return f"| {' | '.join(cells)} |"


def main(
    out: Annotated[Path | None, typer.Option(help="Markdown file for the table.")] = None,
    hidden: Annotated[int, typer.Option(help="Width of the random base.")] = 320,
) -> None:
    """Print the table, and write it if asked to."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from tiny_llava import save_tiny_llava

    lines = [
        "| codec, rank | | up: ledger (MB) | wire | | down: ledger (MB) | wire | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    typer.echo("\n".join(lines))
    with tempfile.TemporaryDirectory(prefix="fcit-wire-") as temporary:
        folder = Path(temporary)
        model = save_tiny_llava(folder / "model", hidden=hidden, ffn=4 * hidden, layers=4)
        for codec, rank in CASES:
            found = measured(folder / f"{codec}-{rank}", model, codec, rank)
            typer.echo("\n".join(found))
            lines += found
    if out is not None:
        out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
