"""What a server can know at the start, it tells before it makes a run folder."""

from __future__ import annotations

import os
import shutil

import pytest
from app_runs import events, run_config, serve

import fcit_app.reference.blind
from fcit_app.config import parse
from fcit_app.data.load import load_benchmark
from fcit_app.errors import ConfigError, ModelError
from fcit_app.reference.blind import blind
from fcit_app.workers import usable_cores


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"identity__encoder": "clip:/nope"}, "no folder /nope"),
        ({"model__name": "/nope"}, "no folder /nope"),
        ({"beta": 0.001}, "hardly ever gives each of 5 clients"),
        ({"method": "blind", "data__test_samples": 1}, "data.test-samples: 1 is not allowed"),
    ],
)
def test_hopeless_settings(tiny_folder, tmp_path, settings, words):
    named = {"model": tiny_folder, "out": tmp_path / "run"}
    with pytest.raises(ConfigError, match=words):
        serve(run_config(**named) | run_config(**named, **settings))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["disco", "zero-shot"])
def test_a_damaged_encoder(tiny_folder, tmp_path, method):
    damaged = shutil.copytree(tiny_folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"nothing")
    config = run_config(tiny_folder, tmp_path / "run", method=method)
    with pytest.raises(ModelError, match="text encoder"):
        serve(config | {"identity.encoder": f"clip:{damaged}"})
    assert not (tmp_path / "run").exists()


def test_a_run_tells_how_many_tasks_it_will_ask(tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", setting="capability", tasks="other,math")
    (started,) = events(serve(config), "run-started")
    assert started["columns"] == [2, 5]


def test_cores_are_those_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    assert usable_cores() == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == os.cpu_count()


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (3, 3), (64, 4)])
def test_blind_starts_a_worker_for_each_of_them(tiny_folder, tmp_path, monkeypatch, cores, workers):
    class Started(Exception):
        pass

    def pool(count):
        raise Started(count)

    monkeypatch.setattr(fcit_app.reference.blind, "usable_cores", lambda: cores)
    monkeypatch.setattr(fcit_app.reference.blind, "worker_pool", pool)
    config = parse(run_config(tiny_folder, tmp_path))
    with pytest.raises(Started) as started:
        blind(config, load_benchmark(config), ["a", "b", "c", "d"], lambda task, number: None)
    assert started.value.args == (workers,)
