"""Real processes are killed: the server, a client, `fcit run` itself. The run goes on, the same.

The last leg of each run is done in this process; it is the quickest one to start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
import pytest
from app_runs import events, run_config, serve
from marked_processes import BIN, MARK, marked, private_homes
from same_runs import everything, resumed

from fcit_app.errors import RunFolderError
from fcit_app.runs import RunFolder
from fcit_app.runs.lock import holder_of
from fcit_app.workers import lives

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
SIZE = {"rounds": 2, "data__test_samples": 2, "min_clients": 2, "aggregator": "fedadam"}
"""A round needs both of its clients: who is killed decides nothing but when."""


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a program whose processes carry a mark; whatever is left of it is ended."""
    mark = str(tmp_path)
    started: list[subprocess.Popen[bytes]] = []

    def begin(*command: str | Path) -> subprocess.Popen[bytes]:
        search = os.pathsep.join(map(str, (ROOT, TESTS)))
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=tmp_path,
                env={**os.environ, MARK: mark, "PYTHONPATH": search},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return process

    yield begin
    kill(marked(mark))
    for process in started:
        process.wait(30)


def kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def training(mark: str) -> list[psutil.Process]:
    """Client processes that are at work."""
    return [p for p in marked(mark) if "ClientAppActor.run" in " ".join(p.cmdline())]


def wait_for(true: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 300
    while not true():
        assert process.poll() is None, log.read_text()[-6000:]
        assert time.monotonic() < end, log.read_text()[-6000:]
        time.sleep(0.02)


def test_the_server_is_killed_within_a_round_and_between_two(tiny_folder, start, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", **SIZE, train__steps=1)
    whole = serve({**config, "out": str(tmp_path / "whole")})
    given = config
    for where in ("within", "between"):
        program = Path(__file__).with_name("stalling_server.py")
        stalls = tmp_path / where
        server = start(sys.executable, program, json.dumps(given), where, stalls)
        wait_for(stalls.exists, server, tmp_path / "log")
        folder = RunFolder(Path(config["out"]))
        with pytest.raises(RunFolderError, match=f"being run by process {server.pid} on"):
            resumed(config, folder)
        server.kill()
        server.wait()
        given = {**config, "resume": config["out"]}
    assert everything(resumed(config, folder)) == everything(whole)
    places = [(e["stage"], e["round"], e["step"]) for e in events(folder, "run-resumed")]
    assert places == [(1, 1, "round"), (2, 1, "round")]


def test_a_client_is_killed_and_then_fcit_run_itself(tiny_folder, start, tmp_path):
    # A client trains for half a second, so that it can be met at work.
    config = run_config(tiny_folder, tmp_path / "run", **SIZE, train__steps=40)
    whole = serve({**config, "out": str(tmp_path / "whole")})
    out, log, mark = Path(config["out"]), tmp_path / "log", str(tmp_path)
    changes = [
        f"--set={key}={value}" for key, value in config.items() if key not in ("preset", "out")
    ]
    command = [BIN / "fcit", "run", "--preset", "mini-smoke", "--out", out, *changes]

    def happened(event: str, times: int) -> bool:
        ledger = out / "ledger.jsonl"
        told = f'"event": "{event}", "stage": 1, "round": 2'
        return ledger.is_file() and ledger.read_text().count(told) == times

    run = start(*command)
    wait_for(lambda: happened("clients-matched", 1), run, log)
    wait_for(lambda: bool(training(mark)), run, log)
    kill(training(mark)[:1])
    assert run.wait(120) == 1
    assert "The run failed" in log.read_text()
    assert "Saved up to stage 1, round 1; go on with `fcit run --resume" in log.read_text()
    assert not marked(mark)

    run = start(BIN / "fcit", "run", "--resume", out)
    wait_for(lambda: happened("round-started", 2), run, log)
    (home,) = private_homes(everybody := marked(mark))
    run.kill()
    run.wait(30)
    end = time.monotonic() + 60
    while left := [process for process in {*everybody, *marked(mark)} if lives(process)]:
        assert time.monotonic() < end, left  # they should have ended by themselves
        time.sleep(0.1)
    assert not home.exists()
    # A process counts as dead when its first thread is; its files are closed with the last one.
    end = time.monotonic() + 30
    while holder_of(out) and time.monotonic() < end:
        time.sleep(0.05)
    folder = RunFolder(out)
    assert not folder.has_result
    assert everything(resumed(config, folder)) == everything(whole)
    places = [(e["stage"], e["round"], e["step"]) for e in events(folder, "run-resumed")]
    assert places == [(1, 1, "round")] * 2
