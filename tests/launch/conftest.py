"""A throw-away Flower app without any learning, and a way to run it as its own process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "toy-app"
version = "0.1.0"
description = "replies to one message"
license = "Apache-2.0"
dependencies = ["flwr[simulation]"]
[tool.flwr.app]
publisher = "fcit"
[tool.flwr.app.components]
serverapp = "toy.server:app"
clientapp = "toy.client:app"
[tool.flwr.app.config]
mode = "good"
out = ""
train.lr = 0.1
"""

CLIENT = """
import os, time
from flwr.app import Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
app = ClientApp()

@app.train()
def train(message, context):
    print("client code is in", __file__)
    print("threads of a client:", os.environ["OMP_NUM_THREADS"], flush=True)
    time.sleep(message.content["config"]["seconds"])
    metrics = MetricRecord({"num-examples": 1, "process": os.getpid()})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
"""

SERVER = """
import json, time
from pathlib import Path
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import ServerApp
app = ServerApp()

@app.main()
def main(grid, context):
    mode, out = context.run_config["mode"], Path(context.run_config["out"])
    def tell(event, **fields):
        with (out / "ledger.jsonl").open("a") as file:
            file.write(json.dumps({"time": time.time(), "event": event, **fields}) + "\\n")
    tell("run-started", method="toy", stages=["first"], rounds=1, clients=3)
    while len(nodes := list(grid.get_node_ids())) < 3:
        time.sleep(0.1)
    tell("round-started", stage=1, round=1, participants=[0, 1, 2])
    if mode == "patient":
        from fcit_app.runs import locked, stop_asked
        with locked(out, "run"):
            tell("note", text="the round takes its time")
            while not stop_asked(out):
                time.sleep(0.1)
        tell("run-stopped")
        return
    if mode == "bad":
        raise ValueError("the toy cannot\\ngo on")
    config = ConfigRecord({"seconds": 300.0 if mode == "endless" else 0.3})
    content = RecordDict({"config": config})
    messages = [Message(content, node, MessageType.TRAIN) for node in nodes]
    if mode == "endless":
        list(grid.push_messages(messages))
        time.sleep(300)
    replies = list(grid.send_and_receive(messages, timeout=60))
    processes = {reply.content["metrics"]["process"] for reply in replies}
    tell("note", text=f"{len(replies)} replies, {len(processes)} processes")
    tell("note", text=f"lr {context.run_config['train.lr']!r}")
    tell("run-finished", last=1.0, avg=None)
"""

RUNNER = """
import sys
from pathlib import Path
from rich.console import Console
from fcit_app.launch import run_app
app, out, mode = sys.argv[1:]
config = {"mode": mode, "out": out, "train.lr": 1e-05}
sys.exit(run_app(Path(app), config, 3, Path(out), Console(width=200), parallel=2))
"""


@pytest.fixture(scope="session")
def toy_app(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("toy app")
    package = root / "toy"
    package.mkdir()
    (root / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").touch()
    (package / "client.py").write_text(CLIENT)
    (package / "server.py").write_text(SERVER)
    return root


class Launched:
    """``run_app`` in a process of its own, watched from outside by means other than its own."""

    def __init__(self, app: Path, folder: Path, mode: str) -> None:
        self.out = folder / f"out {mode}"
        self.mark = uuid.uuid4().hex
        self.seen: set[psutil.Process] = set()
        self.homes: set[str] = set()
        where = folder / f"cwd-{mode}"
        # Were the working directory used, the app's clients would import this instead.
        (where / "toy").mkdir(parents=True)
        (where / "toy" / "__init__.py").write_text("raise RuntimeError('the wrong package')")
        self._text = folder / f"{mode}.txt"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "FCIT_TEST": self.mark}
        with self._text.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUNNER, str(app), str(self.out), mode],
                cwd=where,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def watch(self) -> None:
        """Record the processes that are there now, and their private Flower homes."""
        try:
            self.seen.update(psutil.Process(self.process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return
        for process in self.seen:
            try:
                self.homes.add(process.environ().get("FLWR_HOME", ""))
            except (psutil.Error, OSError):
                continue

    def wait(self, seconds: float = 90.0) -> int:
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, self.text()
            self.watch()
            time.sleep(0.3)
        return self.process.returncode

    def wait_for(self, what: str, path: Path, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while what not in (path.read_text() if path.exists() else ""):
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            self.watch()
            time.sleep(0.2)

    def text(self) -> str:
        return self._text.read_text()

    def left_over(self) -> list[str]:
        """Processes of the run that still live, by descent and by the environment's mark."""
        found = []
        for process in [*self.seen, *psutil.process_iter()]:
            try:
                ours = process in self.seen or process.environ().get("FCIT_TEST") == self.mark
                if ours and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid} {process.name()}")
            except (psutil.Error, OSError):
                continue
        return found


@pytest.fixture(scope="session")
def launch(toy_app, tmp_path_factory):
    """Launch the toy app; whatever a failing test leaves running is ended."""
    started: list[Launched] = []
    folder = tmp_path_factory.mktemp("launched")

    def start(mode: str) -> Launched:
        started.append(Launched(toy_app, folder, mode))
        return started[-1]

    yield start
    for launched in started:
        if launched.process.poll() is None:
            launched.process.terminate()
            launched.process.wait(60)
