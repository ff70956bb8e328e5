"""Kill a run at random moments, resume it, and compare the result with an uninterrupted run's.

    python benchmarks/kill.py --times 20 --out benchmarks/results/kill.md

Each trial is a real ``fcit run``: SuperLink, simulation, Ray and its clients. After an event drawn
from the run's ledger, and a part of the time to the next one, a process is sent SIGKILL. Whatever
then goes on may end by itself; ``fcit run --resume`` follows until there is a result. Two runs are
the same if all arrays of their state, what they measured, and their results but for seconds are
equal to the bit.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

ROOT = Path(__file__).resolve().parents[1]
FCIT = Path(sys.executable).parent / "fcit"
MARK = "FCIT_TEST"

VICTIMS = {
    "server": "flwr-simulation",
    "client": "ray::ClientAppActor",
    "superlink": "flower-superlink",
    "executor": "flower-superexec",
    "raylet": "raylet/raylet",
    "fcit run": "run",
    "everything": "",
}
"""What is killed, and a part of its command line."""

SETTINGS = {
    "preset": "mini-smoke",
    "rounds": 3,
    "aggregator": "fedadam",
    "min-clients": 2,
    "client-timeout": 60.0,
}
"""A round needs all its participants, so that a result does not depend on who was killed."""

HELD_UP = 240.0
"""Seconds without an end after which a trial counts as hanging."""


@dataclass
class Trial:
    """What one kill led to."""

    number: int
    victim: str
    moment: str = ""
    ended: str = ""
    went_on_from: list[str] = field(default_factory=list)
    same: bool = False

    @property
    def row(self) -> str:
        """Line of the table."""
        went_on = ", then ".join(self.went_on_from) or "–"
        cells = [str(self.number), self.victim, self.moment, self.ended, went_on]
        return f"| {' | '.join([*cells, 'yes' if self.same else '**no**'])} |"


class Run:
    """A ``fcit run`` whose processes carry a mark."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.log = log
        self._homes: set[Path] = set()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [FCIT, "run", *arguments],
                cwd=log.parent,
                env={**os.environ, MARK: self.mark, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def living(self) -> list[psutil.Process]:
        """Find the run's processes, whatever became of their parents."""
        from marked_processes import marked

        return marked(self.mark)

    def kill(self, victim: str, draw: random.Random) -> bool:
        """Kill one process of a kind, or all; whether there was one."""
        from marked_processes import private_homes

        name = VICTIMS[victim]
        self._homes |= private_homes(living := self.living())
        chosen = [p for p in living if victim == "everything" or self._is(p, victim, name)]
        if victim != "everything" and chosen:
            chosen = [draw.choice(chosen)]
        for process in chosen:
            send_kill(process)
        return bool(chosen)

    def _is(self, process: psutil.Process, victim: str, name: str) -> bool:
        if victim == "fcit run":
            return process.pid == self.process.pid
        try:
            return any(name in part for part in process.cmdline())
        except psutil.Error:
            return False

    def wait(self) -> int:
        """Wait until nothing of the run works any more; exit code of ``fcit run``.

        Whoever is killed, the others end by themselves.
        """
        end = time.monotonic() + HELD_UP
        while self.process.poll() is None or self.living():
            if time.monotonic() > end:
                raise SystemExit(f"the run hangs:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.5)
        for home in self._homes:  # left behind where everything was killed
            shutil.rmtree(home, ignore_errors=True)
        return self.process.wait()


def send_kill(process: psutil.Process) -> None:
    """Send SIGKILL to whoever still lives."""
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return


def phase_of(folder: Path) -> str:
    """Say what a run is doing, by its ledger."""
    from fcit_app.runs.progress import RunProgress

    progress, ledger = RunProgress(), folder / "ledger.jsonl"
    lines = ledger.read_text().split("\n")[:-1] if ledger.is_file() else []
    for line in lines:
        progress.consume(json.loads(line))
    return progress.phase


def outcome(folder: Path) -> tuple[Any, ...]:
    """Give all that a run leaves but for seconds."""
    from fcit_app.runs import RunFolder

    saved = RunFolder(folder).read_state().arrays
    arrays = {k: (str(a.dtype), a.shape, a.tobytes()) for k, a in saved.items()}
    result = json.loads((folder / "result.json").read_text())
    del result["seconds"]
    return arrays, result, (folder / "analysis.json").read_text()


def times_of(folder: Path) -> list[float]:
    """Read the times of a run's events so far, in seconds."""
    ledger = folder / "ledger.jsonl"
    lines = ledger.read_text().split("\n")[:-1] if ledger.is_file() else []
    return [float(json.loads(line)["time"]) for line in lines]


def wait_for_events(run: Run, folder: Path, count: int) -> None:
    """Wait until a run's ledger has so many events."""
    end = time.monotonic() + HELD_UP
    while len(times_of(folder)) < count:
        if run.process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the run does not get far:\n{run.log.read_text()[-3000:]}")
        time.sleep(0.02)


def begin(folder: Path) -> Run:
    """Begin a run."""
    changes = [f"--set={key}={value}" for key, value in SETTINGS.items() if key != "preset"]
    preset = ["--preset", str(SETTINGS["preset"])]
    return Run([*preset, *changes, "--out", str(folder)], folder.with_suffix(".log"))


def try_once(trial: Trial, folder: Path, clock: list[float], draw: random.Random) -> None:
    """Kill a run, and resume it until there is a result.

    Parameters
    ----------
    trial : Trial
        Filled in.
    folder : Path
        The run's.
    clock : list[float]
        Times of an uninterrupted run's events.
    draw : random.Random
        Draws the moment.
    """
    after = draw.randrange(1, len(clock))
    pause = draw.uniform(0.0, clock[after] - clock[after - 1])
    run = begin(folder)
    wait_for_events(run, folder, after)
    time.sleep(pause)
    trial.moment = phase_of(folder)
    if not run.kill(trial.victim, draw):
        trial.moment += " (it had ended by itself)"
    code = run.wait()
    trial.ended = "finished" if (folder / "result.json").is_file() else f"exit code {code}"
    for _ in range(3):
        if (folder / "result.json").is_file():
            return
        state = folder / "state" / "round.json"
        place = "the start"
        if state.is_file():
            saved = json.loads(state.read_text())
            place = f"stage {saved['stage']} round {saved['round']} ({saved['step']})"
        trial.went_on_from.append(place)
        Run(["--resume", str(folder)], folder.with_suffix(".log")).wait()


def main(
    times: Annotated[int, typer.Option(help="How many kills.")] = 20,
    seed: Annotated[int, typer.Option(help="Draws moments and processes.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Markdown file for the table.")] = None,
) -> None:
    """Print the table, and write it if asked to."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    draw = random.Random(seed)
    lines = [
        "| | killed | moment | what came of it | resumed from | equal |",
        "|---|---|---|---|---|---|",
    ]
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory(prefix="fcit-kill-") as temporary:
        whole = Path(temporary) / "whole"
        run = begin(whole)
        if run.wait() or not (whole / "result.json").is_file():
            raise SystemExit(run.log.read_text()[-3000:])
        clock = times_of(whole)
        expected = outcome(whole)
        lasts = clock[-1] - clock[0]
        typer.echo(f"an uninterrupted run: {len(clock)} events in {lasts:.1f} s")
        typer.echo("\n".join(lines))
        kinds = list(VICTIMS)
        for number in range(1, times + 1):
            # Every kind comes up; which one when, and the moment, are drawn.
            if (number - 1) % len(kinds) == 0:
                draw.shuffle(kinds)
            trial = Trial(number, kinds[(number - 1) % len(kinds)])
            folder = Path(temporary) / f"trial-{number}"
            try_once(trial, folder, clock, draw)
            done = (folder / "result.json").is_file()
            trial.same = done and outcome(folder) == expected
            trials.append(trial)
            lines.append(trial.row)
            typer.echo(trial.row)
            if trial.same:
                shutil.rmtree(folder)
            elif out is not None:
                shutil.copytree(folder, out.with_name(f"{out.stem}-trial-{number}"))
    same = sum(trial.same for trial in trials)
    lines.append(f"\n{same} of {times} finish, bit-equal.")
    typer.echo(lines[-1])
    if out is not None:
        out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
