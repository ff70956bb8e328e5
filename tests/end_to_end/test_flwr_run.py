"""The real thing: Flower's own processes, the bundle, Ray, the mini base, start to end."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fcit_app.launch import find_app_dir
from fcit_app.runs import read_ledger, read_result

BIN = Path(sys.executable).parent


def _processes_with(marker: str) -> list[psutil.Process]:
    """Processes whose environment or command line names the marker."""
    found = []
    for process in psutil.process_iter():
        try:
            told = " ".join([*process.environ().values(), *process.cmdline()])
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if marker in told and process.pid != os.getpid():
            found.append(process)
    return found


def _fcit(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "fcit", *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )


def test_disco_from_the_command_line(tmp_path: Path) -> None:
    """From a working directory that is not the checkout: bundle and weights are found."""
    out = tmp_path / "run"
    done = _fcit("run", "--preset", "mini-smoke", "--json", "--out", str(out), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = read_result(out)
    assert json.loads(done.stdout) == result.model_dump()
    assert result.tasks == ["imagenet-r", "figureqa"]
    assert result.accuracy is not None and [len(row) for row in result.accuracy] == [1, 2]
    assert [subspace.first_stage for subspace in result.subspaces or []] == [1, 2]
    events = [event["event"] for event in read_ledger(out / "ledger.jsonl")]
    assert events.count("client-replied") == 4
    assert events[-1] == "run-finished"
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    assert (out / "state" / "round.safetensors").is_file()
    assert "round 1/1" in done.stderr and "loss" in done.stderr
    assert not _processes_with(str(out))

    again = _fcit("run", "--preset", "mini-smoke", "--out", str(out), cwd=tmp_path)
    assert again.returncode == 2
    assert "already holds another run" in again.stderr


def test_a_failing_run_says_why_and_exits_with_one(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = _fcit(
        *["run", "--preset", "mini-smoke", "--method", "finetune", "--out", str(out)],
        *["--set", "train.lr=1e30", "--set", "tasks=figureqa"],
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "none of the clients" in done.stderr and "diverged" in done.stderr
    assert not (out / "result.json").exists()
    assert not _processes_with(str(out))


@pytest.fixture
def flower_home(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Environment of somebody's own Flower; its daemon is ended afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path / "flower-home"
    yield {
        **os.environ,
        "FLWR_HOME": str(home),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(port),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    left = _processes_with(str(home))
    for process in left:
        process.terminate()
    psutil.wait_procs(left, timeout=20)


def test_plain_flwr_run_with_flowers_defaults(tmp_path: Path, flower_home: dict[str, str]) -> None:
    """Two SuperNodes, Flower's local SuperLink, nothing of ours around it."""
    out = tmp_path / "run"
    done = subprocess.run(
        [
            *[BIN / "flwr", "run", str(find_app_dir()), "--stream"],
            *["--run-config", f"preset='mini-smoke' tasks='figureqa' out='{out}'"],
        ],
        cwd=tmp_path,
        env=flower_home,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "result.json").is_file(), done.stdout[-4000:]
    assert read_result(out).tasks == ["figureqa"]
    assert "round 1/1" in done.stdout
