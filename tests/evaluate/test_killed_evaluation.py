"""`fcit evaluate` killed by SIGKILL half-way: only the rest is computed, the result is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fcit_app.errors import RunFolderError
from fcit_app.evaluate.evaluation import evaluate_saved
from fcit_app.evaluate.predictor import Predictor
from fcit_app.evaluate.saved_run import open_saved_run
from fcit_app.runs import RunFolder

STALLS = """
import sys, time
from fcit_app import cli
from fcit_app.evaluate.predictor import Predictor

predict, done = Predictor.predict, []

def stalls(self, batch):
    if len(done) == 3:
        time.sleep(600)
    done.append(batch)
    return predict(self, batch)

Predictor.predict = stalls
sys.argv = ["fcit", "evaluate", *sys.argv[1:]]
cli.main()
"""
"""The real command; so that it is half-way for sure when it is killed, it stalls there."""


def test_only_the_rest_is_computed(saved_disco: RunFolder, tmp_path: Path, monkeypatch) -> None:
    run = open_saved_run(saved_disco.path)
    command = [sys.executable, "-c", STALLS, str(run.path), "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for_three_batches(tmp_path / "out", process)
            with pytest.raises(RunFolderError, match=f"evaluated by process {process.pid} on"):
                evaluate_saved(run, run.tasks, "test", ("softmax",), tmp_path / "out")
        finally:
            os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    asked: list[int] = []
    predict = Predictor.predict

    def counted(self, batch):
        asked.append(len(batch.places))
        return predict(self, batch)

    monkeypatch.setattr(Predictor, "predict", counted)
    (again,) = evaluate_saved(run, run.tasks, "test", ("softmax",), tmp_path / "out")
    assert sorted(asked) == [2, 3, 3], "the other task's batches, and none twice"
    (whole,) = evaluate_saved(run, run.tasks, "test", ("softmax",), tmp_path / "whole")
    assert (again.folder / "predictions.jsonl").read_bytes() == (
        whole.folder / "predictions.jsonl"
    ).read_bytes()
    assert again.scores == whole.scores
    result = saved_disco.read_result()
    assert result.accuracy is not None
    assert [score.accuracy for score in again.scores] == result.accuracy[-1]


def _wait_for_three_batches(out: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until they are on disk: of eight questions, three at a time."""
    end = time.monotonic() + 300
    while sum(len(file.read_bytes().splitlines()) for file in out.rglob("*.jsonl")) < 8:
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < end, "no three batches within five minutes"
        time.sleep(0.05)
