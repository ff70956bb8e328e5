"""Blind in several processes: however it ends, none of them is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from fcit_app.runs import read_ledger
from fcit_app.workers import usable_cores


class Blind:
    """A run that takes hours, in a process of its own whose environment carries a mark."""

    def __init__(self, model: Path, out: Path) -> None:
        self.out = out
        self.mark = uuid.uuid4().hex
        settings = {
            "model.name": model,
            "tasks": "imagenet-r,figureqa,dvqa,iconqa",
            "train.steps": 1_000_000,
            "train.rank": 1,
        }
        assignments = [part for k, v in settings.items() for part in ("--set", f"{k}={v}")]
        arguments = ["run", "--preset", "mini-smoke", "--method", "blind", "--out", str(out)]
        self._said = (out.parent / "said.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fcit_app.cli", *arguments, *assignments],
            env={**os.environ, "FCIT_TEST": self.mark, "OMP_NUM_THREADS": "1"},
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # as from a terminal: a group of processes of its own
        )

    def said(self) -> str:
        self._said.seek(0)
        return self._said.read()

    def alive(self) -> list[psutil.Process]:
        """Processes with the mark that still live."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("FCIT_TEST") == self.mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def wait_until(self, reached, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < end, self.said()
            time.sleep(0.2)

    def training(self) -> bool:
        """Whether all workers compute; only then are they past all beginnings."""
        assert self.process.poll() is None, self.said()
        try:
            workers = [p for p in self.alive() if "spawn_main" in " ".join(p.cmdline())]
            busy = [p for p in workers if p.num_threads() > 1 and p.cpu_times().user > 2]
        except psutil.Error:  # one has ended between two looks
            return False
        return len(busy) >= min(4, usable_cores())


@pytest.fixture
def run(tiny_folder, tmp_path):
    started = Blind(tiny_folder, tmp_path / "run")
    yield started
    for process in started.alive():
        process.kill()


@pytest.mark.parametrize(("how", "send"), [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill)])
def test_a_stopped_run_says_so(run, how, send):
    """Ctrl-C reaches the workers too, SIGTERM only the run itself."""
    run.wait_until(run.training, 120)
    send(run.process.pid, how)
    run.wait_until(lambda: run.process.poll() is not None, 30)
    assert run.process.returncode == 128 + how
    run.wait_until(lambda: not run.alive(), 10)
    assert "Stopped." in run.said()
    assert "Traceback" not in run.said()
    assert read_ledger(run.out / "ledger.jsonl")[-1]["event"] == "run-failed"
    assert not (run.out / "result.json").exists()


def test_workers_end_when_their_parent_is_killed(run):
    run.wait_until(run.training, 120)
    run.process.kill()
    run.process.wait()
    run.wait_until(lambda: not run.alive(), 20)
