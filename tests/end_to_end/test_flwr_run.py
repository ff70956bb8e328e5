"""The real thing: Flower's own processes, the bundle, Ray, the mini base, start to end."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from app_runs import serve
from marked_processes import BIN, marked, run_marked
from same_runs import everything

from fcit_app.launch import find_app_dir
from fcit_app.runs import RunFolder, read_ledger, read_result


def test_disco_from_the_command_line(tmp_path: Path, mark: str) -> None:
    """From a working directory that is not the checkout: bundle and weights are found."""
    out = tmp_path / "run"
    command = [BIN / "fcit", "run", "--preset", "mini-smoke", "--out", out]
    done = run_marked([*command, "--json"], mark, tmp_path)
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
    assert not marked(mark)

    # Ray and Flower's engine change no bit: what tests of one process say holds for simulations.
    alone = {**RunFolder(out).read_config(), "out": str(tmp_path / "alone")}
    assert everything(RunFolder(out)) == everything(serve(alone))

    again = run_marked(command, mark, tmp_path)
    assert again.returncode == 2
    assert "already holds another run" in again.stderr


@pytest.fixture
def flower_home(tmp_path: Path) -> dict[str, str]:
    """Environment of somebody's own Flower, whose daemon outlives the run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        **os.environ,
        "FLWR_HOME": str(tmp_path / "flower-home"),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(port),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }


def test_plain_flwr_run_with_flowers_defaults(
    tmp_path: Path, mark: str, flower_home: dict[str, str]
) -> None:
    """Two SuperNodes, Flower's local SuperLink, nothing of ours around it."""
    out = tmp_path / "run"
    command = [BIN / "flwr", "run", find_app_dir(), "--stream"]
    changes = f"preset='mini-smoke' tasks='figureqa' out='{out}'"
    done = run_marked([*command, "--run-config", changes], mark, tmp_path, flower_home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "result.json").is_file(), done.stdout[-4000:]
    assert read_result(out).tasks == ["figureqa"]
    assert "round 1/1" in done.stdout
