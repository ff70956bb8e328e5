"""Folders in the published form give each official participant its own file, slot by slot."""

from __future__ import annotations

import numpy as np
import pytest
from toy_folder import training_raw, write_json, write_picture

from fcit_app.config import parse
from fcit_app.data.catalogue import CAPABILITIES, TASK_STAGES, tasks_of
from fcit_app.data.folder.datasets import dataset
from fcit_app.data.load import load_benchmark
from fcit_app.data.stages import lesson_samples, make_stages
from server_app.plan import plan_round

CLIENTS = 50
BELOW = {"task": "Task-related/seq", "capability": "Capability-related/cap"}
# As in the official code (`seq_dyn_list`, `cap_dyn_list`): row a stage, column a slot.
HET = {
    "task": "12456 34577 02345 00137 12445 03577 22577 55566",
    "capability": "01133 02223 12233 00011",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Both published partitions: 50 clients, client k of stage i has i + k % 3 records."""
    root = tmp_path_factory.mktemp("published")
    for setting, names in (("task", TASK_STAGES), ("capability", CAPABILITIES)):
        for number, name in enumerate(names, start=1):
            images = [f"{dataset(task).picture_folders[0]}/1.png" for task in tasks_of(name)]
            for image in images:
                write_picture(root / "datasets" / image, 1)
            # Without a box in its text a COCO picture is AOKVQA's.
            raw = [training_raw(images[n % len(images)], f"{n}?", "yes") for n in range(12)]
            for client in range(CLIENTS):
                file = f"partitioned_data/{BELOW[setting]}/1.0/Task{number}/client_{client}.json"
                write_json(root / file, raw[: number + client % 3])
    return root


@pytest.mark.parametrize("scenario", ["hom", "het"])
@pytest.mark.parametrize("setting", ["task", "capability"])
def test_every_official_participant_gets_its_file(root, monkeypatch, setting, scenario):
    # Which stage teaches what is read anew for each shard; a few records tell it here.
    monkeypatch.setattr("fcit_app.data.folder.partition._LOOKED_AT", 4)
    config = parse({"preset": f"paper-{setting}-{scenario}", "data.root": str(root)})
    benchmark, stages = load_benchmark(config), make_stages(config)
    assert len(stages) == len(HET[setting].split())
    for stage, row in zip(stages, HET[setting].split(), strict=True):
        # Every stage, and of its ten rounds the first and the last.
        for number in (1, 10):
            plan = plan_round(config, range(CLIENTS), stage, number)
            np.random.seed(10 * (stage.number - 1) + number - 1)
            drawn = list(set(np.random.choice(np.arange(CLIENTS), 5, replace=False)))
            expected = dict(zip(map(int, drawn), map(int, row), strict=True))
            assert set(plan.participants) == set(expected)
            for client in plan.participants:
                place = stage.number if scenario == "hom" else expected[client] + 1
                lesson = plan.lessons.get(client, stage.timetable.whole)
                samples = lesson_samples(benchmark, config, lesson, client, CLIENTS)
                name = f"partitioned_data/{BELOW[setting]}/1.0/Task{place}/client_{client}"
                assert [s.identifier for s in samples] == [
                    f"{name}/{record}@0" for record in range(place + client % 3)
                ]
