"""The paper's settings run from end to end; here on a small random LLaVA and CLIP."""

from __future__ import annotations

import json

import pytest
from app_runs import events, serve
from paper_files import save_tiny_clip
from toy_folder import make_root

from fcit_app.config import parse
from fcit_app.data.catalogue import tasks_of
from fcit_app.data.folder.write_partition import write_partition
from fcit_app.runs import read_result

CLIENTS = 5
# Two stages with the slots of the official tables' kind, so that the test takes seconds.
HET = """
[[stages]]
slots = ["{0}", "{0}", "{1}", "{1}", "{1}"]
[[stages]]
slots = ["{1}", "{0}", "{0}", "{1}", "{0}"]
"""
NAMES = {"task": ("imagenet-r", "figureqa"), "capability": ("math", "chart")}


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    tasks = dict.fromkeys(
        task for names in NAMES.values() for name in names for task in tasks_of(name)
    )
    root = make_root(tmp_path_factory.mktemp("data"), tuple(tasks), train=12, test=2)
    for setting, names in NAMES.items():
        write_partition(root, setting, names, 1.0, CLIENTS, 0, minimum=1)
    return root


@pytest.mark.parametrize("scenario", ["hom", "het"])
@pytest.mark.parametrize("setting", ["task", "capability"])
def test_the_papers_presets_run(
    tiny_folder, clip_folder, root, tmp_path, monkeypatch, setting, scenario
):
    monkeypatch.setattr("fcit_app.data.folder.benchmark.GENERATION_LENGTH", 3)
    file = tmp_path / "het.toml"
    file.write_text(HET.format(*NAMES[setting]))
    stages = {"tasks": ",".join(NAMES[setting])} if scenario == "hom" else {"scenario": str(file)}
    folder = serve(
        {
            "preset": f"paper-{setting}-{scenario}",
            "model.name": str(tiny_folder),
            "identity.encoder": f"clip:{clip_folder}",
            "data.root": str(root),
            "out": str(tmp_path / "run"),
            "rounds": 1,
            **stages,
        }
    )
    result = read_result(folder.path)
    assert len(result.accuracy) == 2
    assert events(folder, "run-finished")
    assert not events(folder, "client-quarantined")
    arrays, _ = folder.load_state()
    assert {str(array.dtype) for name, array in arrays.items() if "adapter" in name} == {"float32"}
    config = json.loads((folder.path / "config.json").read_text())
    assert config["model.dtype"] == "bfloat16"


def test_the_papers_numbers():
    for setting, batch in (("task", 128), ("capability", 64)):
        for scenario in ("hom", "het"):
            config = parse({"preset": f"paper-{setting}-{scenario}"})
            train = config.train
            assert (config.setting, config.scenario) == (setting, scenario)
            assert train.batch_size * train.accumulation == batch
            assert (train.rank, train.scaling, train.dropout) == (8, 2.0, 0.05)
            assert (train.lr, train.projector_lr, train.warmup, train.epochs) == (
                2e-4,
                2e-5,
                0.03,
                1,
            )
            assert (config.rounds, config.clients_per_round, config.beta) == (10, 5, 1.0)
            assert (config.identity.tau, config.identity.temperature) == (0.9, 0.05)
            assert (config.activation, config.client_draw) == ("softmax", "official")
