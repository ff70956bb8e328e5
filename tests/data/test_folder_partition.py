"""Partitions on disk: written without loss, read as they are, order taken from the data."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from toy_folder import make_root, write_json

from fcit_app.data.folder.benchmark import FolderBenchmark
from fcit_app.data.folder.datasets import dataset
from fcit_app.data.folder.partition import partition_folder, stage_folders, stage_name
from fcit_app.data.folder.write_partition import manifest_problems, write_partition
from fcit_app.errors import DataError

STAGES = ("imagenet-r", "figureqa")


def written(root, **more):
    settings = {"setting": "task", "stages": STAGES, "beta": 1.0, "clients": 4, "seed": 0} | more
    return write_partition(root, **settings)


def test_every_record_is_dealt_once(tmp_path):
    folder = written(make_root(tmp_path), minimum=2)
    assert folder == tmp_path / "partitioned_data" / "Task-related" / "seq" / "1.0"
    for stage, name in zip(stage_folders(folder), STAGES, strict=True):
        shards = [json.loads((stage / f"client_{k}.json").read_text()) for k in range(4)]
        assert min(map(len, shards)) >= 2
        whole = json.loads((tmp_path / dataset(name).train_path).read_text())
        dealt = Counter(json.dumps(record) for shard in shards for record in shard)
        assert dealt == Counter(json.dumps(record) for record in whole)


def test_it_is_the_same_every_time_and_another_with_another_seed(tmp_path):
    hashes = []
    for number, seed in enumerate([0, 0, 1]):
        root = make_root(tmp_path / str(number), train=12)
        folder = written(root, seed=seed)
        hashes.append(json.loads((folder / "manifest.json").read_text())["sha256"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_manifest_notices_changes(tmp_path):
    folder = written(make_root(tmp_path))
    assert manifest_problems(folder) == []
    shard = folder / "Task2" / "client_1.json"
    shard.write_text("[]")
    (problem,) = manifest_problems(folder)
    assert problem.startswith(str(shard))
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"seed": 0', '"seed": 1'))
    assert "was changed" in manifest_problems(folder)[0]
    manifest.write_text("{}")
    assert "no manifest" in manifest_problems(folder)[0]


def test_a_partition_is_not_overwritten_and_nothing_half_made_is_left(tmp_path):
    root = make_root(tmp_path)
    written(root)
    with pytest.raises(DataError, match="there is a partition already"):
        written(root)
    (tmp_path / "partitioned_data" / "Capability-related").write_text("in the way")
    with pytest.raises(DataError, match="it cannot be written: "):
        written(root, setting="capability", stages=("general",))
    with pytest.raises(DataError, match="DVQA"):
        written(root, stages=("figureqa", "dvqa"), beta=0.5)
    assert [path.name for path in partition_folder(root, "task", 0.5).parent.iterdir()] == ["1.0"]


def test_the_order_is_read_from_the_data(tmp_path):
    folder = written(make_root(tmp_path), stages=STAGES[::-1])
    assert [stage_name(stage, "task") for stage in stage_folders(folder)] == list(STAGES[::-1])
    on_disk = FolderBenchmark(tmp_path, 0, 1, 1, dealt_beta=1.0)
    shards = [on_disk.dealt_samples("figureqa", client, 4) for client in range(4)]
    assert sum(map(len, shards)) == 30
    assert {sample.task for shard in shards for sample in shard} == {"figureqa"}
    with pytest.raises(DataError, match="validation"):
        on_disk.validation_samples("figureqa")


def test_a_capability_pools_its_data_sets(tmp_path):
    tasks = ("arxivqa", "figureqa", "dvqa")
    folder = written(make_root(tmp_path, tasks, train=10), setting="capability", stages=("chart",))
    assert stage_name(stage_folders(folder)[0], "capability") == "chart"
    on_disk = FolderBenchmark(tmp_path, 0, 1, 1, dealt_beta=1.0)
    shards = [on_disk.dealt_samples("chart", client, 4) for client in range(4)]
    counts = Counter(sample.task for shard in shards for sample in shard)
    assert counts == dict.fromkeys(tasks, 10)


def test_what_is_not_there_is_named(tmp_path):
    folder = written(make_root(tmp_path))
    on_disk = FolderBenchmark(tmp_path, 0, 1, 1, dealt_beta=1.0)
    with pytest.raises(DataError, match="no stage of this partition teaches dvqa; it teaches imag"):
        on_disk.dealt_samples("dvqa", 0, 4)
    with pytest.raises(DataError, match="dealt to 4 clients, but this run has 5"):
        on_disk.dealt_samples("figureqa", 0, 5)
    # A client's own machine holds its own shard only.
    for client in (0, 1, 3):
        (folder / "Task2" / f"client_{client}.json").unlink()
    assert on_disk.dealt_samples("figureqa", 2, 4)
    with pytest.raises(DataError, match="the shard of client 1 is missing"):
        on_disk.dealt_samples("figureqa", 1, 4)
    other = FolderBenchmark(tmp_path, 0, 1, 1, dealt_beta=5.0)
    with pytest.raises(DataError, match="it teaches nothing"):
        other.dealt_samples("figureqa", 0, 4)


def test_a_mixed_stage_is_refused(tmp_path):
    folder = written(make_root(tmp_path))
    stage = folder / "Task1"
    mixed = json.loads((tmp_path / dataset("figureqa").train_path).read_text())[:1]
    shard = json.loads((stage / "client_0.json").read_text())
    write_json(stage / "client_0.json", shard + mixed)
    with pytest.raises(DataError, match="speak of figureqa, imagenet-r"):
        stage_name(stage, "task")
    write_json(stage / "client_0.json", [{**mixed[0], "image": "x/1.png"}])
    with pytest.raises(DataError, match="no FCIT data set"):
        stage_name(stage, "task")
