"""The paper's presets from start to end: all stages, FCIT's layout, a small LLaVA and CLIP."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from app_runs import serve
from in_process_grid import InProcessGrid
from marked_processes import BIN, marked, run_marked
from paper_files import dealt_root, save_terse_llava, save_tiny_clip

from client_app.app import app as client_app
from fcit_app.config import flatten, parse
from fcit_app.data.catalogue import TASK_STAGES
from fcit_app.data.stages import make_stages, tasks_seen
from fcit_app.runs import read_ledger, read_result
from server_app.sampling import official_slots

CLIENTS = 6


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Assignments that make the paper's settings small; all else is the preset's."""
    folder = tmp_path_factory.mktemp("paper")
    return [
        f"model.name={save_terse_llava(folder / 'llava', context=208)}",
        f"identity.encoder=clip:{save_tiny_clip(folder / 'clip')}",
        # Random features of different tasks are nearer to each other than CLIP's.
        "identity.tau=0.99",
        f"data.root={dealt_root(folder / 'data', 'task', CLIENTS, train=8, test=1)}",
        "model.dtype=float32",
        "rounds=1",
    ]


@pytest.fixture(scope="module")
def without_java(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """This environment with a Java that does not run, which METEOR takes nine seconds a time of."""
    folder = tmp_path_factory.mktemp("bin")
    java = folder / "java"
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("scenario", ["hom", "het"])
def test_a_whole_run_of_the_papers_preset(
    tmp_path: Path,
    mark: str,
    given: list[str],
    without_java: dict[str, str],
    scenario: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Het by `fcit run`; Hom in this process, which is quicker and gives the same bits."""
    out, preset = tmp_path / "run", f"paper-task-{scenario}"
    if scenario == "het":
        command = [BIN / "fcit", "run", "--preset", preset, "--clients", str(CLIENTS), "--out", out]
        settings = [f"--set={value}" for value in given]
        done = run_marked([*command, *settings], mark, tmp_path, without_java)
        assert done.returncode == 0, done.stderr
    else:
        monkeypatch.setenv("PATH", without_java["PATH"])
        chosen = parse({"preset": preset, "out": str(out), **dict(v.split("=", 1) for v in given)})
        alone = flatten(chosen)
        serve(alone, InProcessGrid(client_app, CLIENTS, run_config=alone))
    result, ledger = read_result(out), read_ledger(out / "ledger.jsonl")
    config = parse(json.loads((out / "config.json").read_text()))
    assert (config.preset, config.data.partition, config.client_draw) == (
        preset,
        "files",
        "official",
    )
    stages = make_stages(config)
    assert len(stages) == 8
    assert result.tasks == list(tasks_seen(stages, 8))
    assert set(result.tasks) == set(TASK_STAGES)
    assert result.accuracy is not None
    assert [len(row) for row in result.accuracy] == [
        len(tasks_seen(stages, number)) for number in range(1, 9)
    ]
    rounds = [event for event in ledger if event["event"] == "round-started"]
    for stage, event in zip(stages, rounds, strict=True):
        slots = official_slots(range(CLIENTS), 5, stage.number, 1)
        if scenario == "hom":
            assert event["participants"] == sorted(slots)
        else:
            assert event["participants"] == list(slots)
            assert event["lessons"] == [name for (name,) in stage.timetable.slots]
    assert not [event for event in ledger if event["event"] == "client-rejected"]
    # Every task has a subspace of its own, opened when it was first met.
    opened = {name: s.first_stage for s in result.subspaces or () for name in s.task_counts}
    first = {t: s.number for s in reversed(stages) for t in s.tasks}
    assert opened == first
    assert len(result.subspaces or ()) == 8
    assert not marked(mark)
