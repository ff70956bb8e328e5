"""A SuperLink of our own: private home, neutral working directory, free port, clean end.

Why private: Flower's own local SuperLink keeps running, keeps the environment and working
directory of the first run that started it, and its Ray workers prefer a package found in that
directory to the app's bundle. Two checkouts, or two tests, would meet in it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fcit_app.errors import RunError
from fcit_app.processes import MARK_VARIABLE, Family, caretaking, end_in_order
from fcit_app.runs.environment import COMMIT_VARIABLE, source_commit

CONNECTION = "fcit"
"""Name of the connection in the private Flower configuration."""


class SuperLink:
    """A SuperLink process and the folder it lives in.

    Attributes
    ----------
    home : Path
        Temporary folder: Flower's home, Ray's files, the working directory ``cwd``, logs.
    family : Family
        All processes started here and below.
    """

    def __init__(self, home: Path, app_dir: Path) -> None:
        self.home = home
        self.cwd = home / "cwd"
        self.log = home / "superlink.log"
        self.environment = _environment(home, app_dir)
        self.family = Family(str(home))
        self._process: subprocess.Popen[bytes] | None = None
        self._spawned: list[subprocess.Popen[bytes]] = []
        self._port = 0

    def start(self) -> None:
        """Start the SuperLink; ``is_healthy`` tells when it answers."""
        self._port = _free_port()
        (self.home / "flwr" / "config.toml").write_text(
            f'[superlink]\ndefault = "{CONNECTION}"\n[superlink.{CONNECTION}]\n'
            f'address = "127.0.0.1:{self._port}"\ninsecure = true\n',
            encoding="utf-8",
        )
        self._process = self.spawn(
            [
                "flower-superlink",
                "--insecure",
                "--simulation",
                "--host=127.0.0.1",
                f"--port={self._port}",
                "--disable-runtime-dependency-installation",
            ],
            self.log,
        )

    def spawn(self, command: Iterable[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a Flower command in the private environment, its output appended to ``log``.

        It gets a session of its own: a Ctrl-C in the terminal reaches only us, and we decide the
        order in which things end.
        """
        name, *arguments = command
        with log.open("ab") as output:
            process = subprocess.Popen(
                [find_program(name), *arguments],
                cwd=self.cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.family.adopt(process.pid)
        self._spawned.append(process)
        return process

    def has_ended(self) -> bool:
        """Whether the SuperLink process is gone."""
        return self._process is None or self._process.poll() is not None

    def is_healthy(self) -> bool:
        """Whether the SuperLink answers on its port."""
        # A proxy of the user's must not be asked for an address of this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self._port}/health", timeout=1.0) as answer:
                return bool(answer.status < 300)
        except (urllib.error.URLError, OSError):
            return False

    def close(self) -> list[int]:
        """End the run, the SuperLink and whatever is left of them; return ids of survivors."""
        survivors = end_in_order(self.family)
        for process in self._spawned:
            process.poll()
        return survivors


@contextmanager
def private_superlink(app_dir: Path) -> Iterator[SuperLink]:
    """Make a SuperLink's private folder, and leave neither processes nor files behind.

    Not even when this process is killed: a caretaker then does what is left to do.

    Raises
    ------
    RunError
        If a process survives being killed.
    """
    # Ray puts sockets below this folder, and a socket's path may have only 107 characters.
    short = Path("/tmp")
    home = Path(tempfile.mkdtemp(prefix="fcit-", dir=short if short.is_dir() else None)).resolve()
    superlink = SuperLink(home, app_dir)
    with caretaking(str(home), home):
        try:
            for name in ("flwr", "cwd"):
                (home / name).mkdir()
            yield superlink
        finally:
            survivors = superlink.close()
            # Ray may still be writing a last log line: the folder is temporary either way.
            shutil.rmtree(home, ignore_errors=True)
            if survivors:
                raise RunError(f"Processes of the run could not be ended: {survivors}. Kill them.")


def _environment(home: Path, app_dir: Path) -> dict[str, str]:
    """Environment of all Flower processes of a run."""
    binaries = str(Path(sys.executable).parent)
    no_proxy = os.environ.get("NO_PROXY", os.environ.get("no_proxy", ""))
    local = ",".join(part for part in (no_proxy, "127.0.0.1", "localhost") if part)
    return {
        **os.environ,
        # Flower starts its own programs by name: they have to be this environment's.
        "PATH": os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)]),
        "FLWR_HOME": str(home / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "RAY_TMPDIR": str(home),
        "RAY_DEDUP_LOGS": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # One thread a client: clients run side by side, one on each core, and the order of
        # additions, hence every bit of the result, does not depend on the machine's cores.
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": local,
        "no_proxy": local,
        COMMIT_VARIABLE: source_commit(app_dir) or os.environ.get(COMMIT_VARIABLE, ""),
        MARK_VARIABLE: str(home),
    }


def find_program(name: str) -> str:
    """Path of a program of this Python environment; raises ``RunError`` if there is none."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise RunError(f"The program {name} is not installed. Run `make setup`.")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
