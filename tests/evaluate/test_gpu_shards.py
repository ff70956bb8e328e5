"""Several processes take a GPU each, in turn; here the GPUs are only counted."""

from __future__ import annotations

import multiprocessing
import os

import pytest
import torch

from fcit_app import workers
from fcit_app.evaluate import predictors
from fcit_app.evaluate.saved_run import open_saved_run
from fcit_app.model.precision import VISIBLE_GPUS, gpu_environments
from fcit_app.runs import RunFolder
from fcit_app.workers import worker_pool


@pytest.mark.parametrize(
    ("count", "visible", "names"),
    [
        (0, None, []),
        (1, None, []),
        (3, None, ["0", "1", "2"]),
        (2, "4,7", ["4", "7"]),
        (2, "GPU-aa, GPU-bb", ["GPU-aa", "GPU-bb"]),
    ],
)
def test_each_gpu_that_is_seen_is_named_as_the_system_names_it(count, visible, names, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv(VISIBLE_GPUS, raising=False)
    if visible:
        monkeypatch.setenv(VISIBLE_GPUS, visible)
    assert [entry[VISIBLE_GPUS] for entry in gpu_environments("auto")] == names
    assert gpu_environments("cpu") == []


def test_workers_take_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "end_with_parent", lambda: None)
    monkeypatch.setenv(VISIBLE_GPUS, "4,7")
    begun, gpus = multiprocessing.Value("i", 0), [{VISIBLE_GPUS: "4"}, {VISIBLE_GPUS: "7"}]
    seen = []
    for _ in range(3):
        workers._begin(begun, gpus)
        seen.append(os.environ[VISIBLE_GPUS])
    assert seen == ["4", "7", "4"]


def test_a_worker_sees_its_gpu() -> None:
    with worker_pool(1, [{VISIBLE_GPUS: "4"}, {VISIBLE_GPUS: "7"}]) as pool:
        assert pool.submit(os.getenv, VISIBLE_GPUS).result() == "4"


def test_evaluation_gives_its_workers_the_gpus(
    saved_disco: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def pool(processes, environments):
        given.append((processes, environments))
        return worker_pool(processes)

    monkeypatch.setattr(predictors, "worker_pool", pool)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv(VISIBLE_GPUS, raising=False)
    run = open_saved_run(saved_disco.path)
    with predictors.predictors(run, None, "test", 4):  # type: ignore[arg-type]
        pass
    assert given == [(4, [{VISIBLE_GPUS: "0"}, {VISIBLE_GPUS: "1"}])]
