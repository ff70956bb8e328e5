"""Real SuperLinks and SuperNodes on loopback, started by the commands of docs/deploy.md."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import app_runs
import psutil

from fcit_app.runs import RunFolder

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "deploy.md"
MARK = "FCIT_TEST"


def blocks(language: str) -> list[str]:
    """Code blocks of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


def block(language: str, *words: str) -> str:
    """The one code block of the page that holds all these words."""
    (found,) = [text for text in blocks(language) if all(word in text for word in words)]
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Command:
    """A shell command that runs, and all that descends from it."""

    def __init__(self, text: str, log: Path, environment: dict[str, str]) -> None:
        self.log = log
        self.mark = uuid.uuid4().hex
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                ["bash", "-c", text],
                cwd=ROOT,
                env={**environment, MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def says(self, words: str) -> bool:
        return words in self.text()

    def living(self) -> list[psutil.Process]:
        """Processes of this command, found by their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARK) == self.mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def wait(self, seconds: float) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.text()[-6000:]) from None

    def kill(self) -> None:
        """End it, and all below, as a power failure does."""
        while living := self.living():
            for process in living:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.05)
        self.process.wait(10)


def terminate(commands: Sequence[Command]) -> list[int]:
    """End commands as a supervisor does, all at once; their exit codes."""
    for command in commands:
        command.process.terminate()
    return [command.wait(180) for command in commands]


class Federation:
    """A SuperLink, its SuperNodes and the user who drives them, in a folder of their own.

    Parameters
    ----------
    folder : Path
        Stands for the page's /srv/fcit.
    secure, authenticated : bool
        Whether there is TLS, and whether SuperNodes need a registered key.
    clients : int
        How many share the data.
    """

    def __init__(self, folder: Path, secure: bool, authenticated: bool, clients: int) -> None:
        self.folder, self.clients = folder, clients
        self.secure, self.authenticated = secure, authenticated
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.started: list[Command] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "flwr").mkdir()
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "FLWR_HOME": str(folder / "flwr"),
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_TELEMETRY_ENABLED": "0",
            "COLUMNS": "200",
        }

    def page(self, text: str) -> str:
        """A text of the page, for this folder and port."""
        text = text.replace("/srv/fcit", str(self.folder)).replace("--host 0.0.0.0 ", "")
        text = text.replace("superlink.example.org:8000", self.address)
        text = text.replace("127.0.0.1:8000", self.address).replace("superlink.example.org", "")
        return text.replace("--port 8000", f"--port {self.port}")

    def start(self, name: str, text: str) -> Command:
        self.started.append(Command(text, self.folder / f"{name}.log", self.environment))
        return self.started[-1]

    def run(self, name: str, text: str, seconds: float = 300.0) -> Command:
        """Run a command to its end, which must be a good one."""
        command = self.start(name, text)
        assert command.wait(seconds) == 0, command.text()
        return command

    def start_superlink(self, name: str = "superlink", options: str = "") -> Command:
        if self.secure:
            if not (self.folder / "certificates").exists():
                text = self.page(block("sh", "make-certificates.sh /srv/fcit"))
                self.run("certificates", text)
            text = self.page(block("sh", "start superlink", "--ssl-certfile"))
            if not self.authenticated:
                text = text.replace("--enable-supernode-auth", "")
        else:
            text = self.page(block("sh", "start superlink --insecure").splitlines()[0])
        connection = self.page(block("toml", "[superlink.federation]"))
        if not self.secure:
            connection = re.sub("root-certificates.*", "insecure = true", connection)
        (self.folder / "flwr" / "config.toml").write_text(connection)
        link = self.start(name, f"{text.rstrip()} {options}")
        wait_until(partial(link.says, "Uvicorn running on"), link, 500)
        return link

    def register(self) -> None:
        """Register the SuperNodes' keys."""
        command = self.run("register", self.page(block("sh", "supernode register")))
        assert command.text().count("registered successfully") == self.clients, command.text()

    def node_command(self, client: int, **replaced: str) -> str:
        """The page's command for a SuperNode; `replaced` gives other values to flags."""
        if self.secure:
            text = self.page(block("sh", "start supernode", "--root-certificates"))
        else:
            page = block("sh", "start superlink --insecure")
            text = self.page(page[page.index("FLWR_HOME=") :])
        if not self.authenticated:
            text = re.sub(r"--auth-supernode-private-key \S+", "", text)
        text = text.replace("node-0", f"node-{client}").replace("9094", str(free_port()))
        text = re.sub("partition-id=0", f"partition-id={client}", text)
        text = re.sub(r"num-partitions=\d+", f"num-partitions={self.clients}", text)
        for flag, value in replaced.items():
            text = re.sub(rf"--{flag.replace('_', '-')} \S+", value, text)
        return text

    def start_node(self, client: int, name: str = "") -> Command:
        return self.start(name or f"node-{client}", self.node_command(client))

    def start_nodes(self) -> list[Command]:
        """Start all SuperNodes; they are connected then."""
        nodes = [self.start_node(client) for client in range(self.clients)]
        for node in nodes:
            wait_until(partial(node.says, "SuperNode ID:"), node, 500)
        return nodes

    def start_run(self, settings: dict[str, object], name: str = "run") -> Command:
        """The page's `flwr run`, with other settings."""
        given = " ".join(f"{key}={value!r}" for key, value in settings.items())
        text = self.page(block("sh", "flwr run . federation"))
        text = re.sub(r'--run-config ".*"', f'--run-config "{given}"', text)
        return self.start(name, text)

    def close(self) -> None:
        """End whatever still lives."""
        for command in reversed(self.started):
            command.kill()


def wait_until(true: Callable[[], bool], command: Command, seconds: float) -> None:
    """Wait for something while a command runs."""
    end = time.monotonic() + seconds
    while not true():
        assert command.process.poll() is None, command.text()[-6000:]
        assert time.monotonic() < end, command.text()[-6000:]
        time.sleep(0.1)


SMALL: dict[str, object] = {
    **{key: value for key, value in app_runs.SMALL.items() if key != "client-timeout"},
    "tasks": "figureqa",
}
"""Settings of a run that trains for seconds."""


def finished(federation: Federation, out: Path, settings: dict[str, object]) -> RunFolder:
    """A run from the page's command to its end."""
    run = federation.start_run({**SMALL, **settings, "out": str(out)})
    assert run.wait(900) == 0, run.text()
    assert (out / "result.json").is_file(), run.text()[-6000:]
    return RunFolder(out)
