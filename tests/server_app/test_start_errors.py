"""What can be wrong at the start is told before anything is loaded or written."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from app_runs import run_config, serve
from in_process_grid import InProcessGrid

import server_app.app
from client_app.app import app as client_app
from fcit_app.errors import ConfigError, ModelError, RunError, RunFolderError, reason_of
from server_app.journal import LOGGER


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", tasks="imagenet-r")
    folder = serve(config)
    before = {p.name: p.stat().st_mtime_ns for p in folder.path.iterdir()}
    grid = InProcessGrid(client_app, 5, run_config=config)
    for method in ("disco", "zero-shot"):
        with pytest.raises(RunFolderError, match="already holds another run"):
            serve({**config, "method": method}, grid)
    assert grid.sent == []
    assert {p.name: p.stat().st_mtime_ns for p in folder.path.iterdir()} == before


def test_every_wrong_value_is_told_at_once_before_torch_is_imported(tmp_path):
    program = """
import sys
import server_app.app, client_app.app
from app_runs import context_of
from fcit_app.errors import ConfigError
config = {"preset": "mini", "roudns": 3, "beta": -1.0, "train.rank": 0, "tasks": "imagenet",
          "out": sys.argv[1], "aggregator": "fedyogi", "aggregator.arguments": "etta=1"}
try:
    server_app.app.app(None, context_of(config))
except ConfigError as error:
    assert len(error.problems) == 5, error
    print(error)
assert "torch" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    for words in ("roudns", "'rounds'", "beta", "train.rank", "'imagenet-r'", "'eta'"):
        assert words in done.stdout
    assert not (tmp_path / "run").exists()


def test_a_relative_model_is_refused(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_folder.parent)
    with pytest.raises(ConfigError, match=r"model\.name: 'tiny.*' is a relative path.*absolute"):
        serve(run_config(tiny_folder.name, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["disco", "zero-shot"])
def test_the_log_names_the_folder_first_and_last(
    tiny_folder, tmp_path, monkeypatch, caplog, method
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LOGGER, "handlers", [caplog.handler])
    serve(run_config(tiny_folder, "run", method=method, tasks="imagenet-r"))
    folder = tmp_path / "run"
    lines = [record.getMessage() for record in caplog.records]
    assert lines[-1] == f"The run's result and report are in {folder}"
    assert lines.index(f"The run's folder is {folder}") < lines.index(
        next(line for line in lines if "started" in line)
    )


def test_too_few_clients_leave_no_folder(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(server_app.app, "_NODE_PATIENCE", 0.0)
    config = run_config(tiny_folder, tmp_path / "run")
    with pytest.raises(RunError, match="num-supernodes"):
        serve(config, InProcessGrid(client_app, 1, run_config=config))
    config["data.min-samples"] = 9
    with pytest.raises(ConfigError, match=r"data\.min-samples"):
        serve(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["disco", "blind"])
def test_missing_or_damaged_weights_leave_no_folder(tiny_folder, tmp_path, monkeypatch, method):
    damaged = shutil.copytree(tiny_folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="damaged"):
        serve(run_config(damaged, tmp_path / "run", method=method))
    monkeypatch.setenv("FCIT_MINI_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelError, match="FCIT_MINI_WEIGHTS"):
        serve(run_config("mini", tmp_path / "run", method=method))
    assert not (tmp_path / "run").exists()


def test_any_failure_after_the_start_is_in_the_ledger(tiny_folder, tmp_path, monkeypatch):
    def fail(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("server_app.checkpoint.Checkpoint.save", fail)
    with pytest.raises(OSError, match="No space"):
        serve(run_config(tiny_folder, tmp_path / "run"))
    last = (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()[-1]
    assert '"run-failed"' in last
    assert "OSError: [Errno 28] No space left on device" in last
    assert not (tmp_path / "run" / "result.json").exists()


def test_reasons_name_what_is_not_our_own():
    assert reason_of(RunError("Lower beta.")) == "Lower beta."
    assert reason_of(KeyError("x")) == "KeyError: 'x'"
    assert reason_of(MemoryError()) == "MemoryError"
