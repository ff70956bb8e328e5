"""A whole run on data in a folder: the same path as the mini benchmark."""

from __future__ import annotations

import json
from statistics import fmean

import pytest
from app_runs import events, run_config, serve
from toy_folder import change, make_root

from fcit_app.data.folder.datasets import dataset
from fcit_app.data.folder.write_partition import write_partition
from fcit_app.errors import ConfigError
from fcit_app.evaluate import captions
from fcit_app.evaluate.evaluation import evaluate_saved
from fcit_app.evaluate.saved_run import open_saved_run
from fcit_app.runs import read_analysis, read_result

TASKS = ("imagenet-r", "figureqa")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = make_root(tmp_path_factory.mktemp("data"), TASKS, train=48, test=4)
    write_partition(root, "task", TASKS, 1.0, 5, 0, minimum=4)
    return root


def config(tiny_folder, out, root, **changes):
    return run_config(tiny_folder, out, data__root=str(root), data__test_samples=2, **changes)


def test_a_run_on_a_folder(tiny_folder, tmp_path, root):
    folder = serve(config(tiny_folder, tmp_path / "run", root))
    result = read_result(folder.path)
    assert tuple(result.tasks) == TASKS
    assert [len(row) for row in result.accuracy] == [1, 2]
    assert events(folder, "run-finished")


def test_shards_on_disk_and_a_bad_record(tiny_folder, tmp_path, root):
    shard = root / "partitioned_data/Task-related/seq/1.0/Task1/client_0.json"
    change(shard, 0, image="../x.png")
    given = {"data__partition": "files", "clients_per_round": 5}
    skip = {"data__on_bad_sample": "skip", **given}
    folder = serve(config(tiny_folder, tmp_path / "run", root, tasks="imagenet-r", **skip))
    (subspace,) = read_result(folder.path).subspaces
    assert subspace.task_counts == {"imagenet-r": 47}
    (told,) = events(folder, "samples-skipped")
    assert (told["client"], told["records"]) == (0, 1)
    assert f"1 outside-root); the first: {shard}, record 0" in told["text"]
    # Refused: the client says why, and the round goes on without it.
    refusing = config(tiny_folder, tmp_path / "other", root, tasks="imagenet-r", **given)
    folder = serve(refusing)
    assert "client_0.json, record 0 (counted from 0): its image path" in str(folder.ledger.read())
    assert events(folder, "run-finished")


def test_features_on_disk_and_workers_change_no_bit(tiny_folder, tmp_path, root, monkeypatch):
    monkeypatch.setattr("fcit_app.data.folder.benchmark.GENERATION_LENGTH", 3)
    short = {"tasks": "imagenet-r", "clients_per_round": 1}
    runs = [serve(config(tiny_folder, tmp_path / "plain", root, **short))]
    given = {"data__feature_cache": str(tmp_path / "cache"), "data__workers": 2, **short}
    for name in ("cold", "warm"):
        runs.append(serve(config(tiny_folder, tmp_path / name, root, **given)))
        assert list((tmp_path / "cache").rglob("*.safetensors"))
    states = [run.load_state() for run in runs]
    for arrays, meta in states[1:]:
        assert meta["bank"] == states[0][1]["bank"]
        assert arrays.keys() == states[0][0].keys()
        same = (arrays[name].tobytes() == array.tobytes() for name, array in states[0][0].items())
        assert all(same)
    assert len({str(read_result(run.path).accuracy) for run in runs}) == 1


def test_captions_are_scored_by_all_references(tiny_folder, tmp_path, monkeypatch):
    """Without Java, whose start takes longer than the run; that it is missing is written down."""
    monkeypatch.setattr(captions, "java_works", lambda: False)
    root = make_root(tmp_path / "data", ["flickr30k"], train=48, test=4)
    settings = config(tiny_folder, tmp_path / "run", root, tasks="flickr30k")
    monkeypatch.setattr("fcit_app.preflight.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"captions \(flickr30k\).*fcit-disco\[captions\]"):
        serve(settings)
    monkeypatch.undo()
    monkeypatch.setattr(captions, "java_works", lambda: False)
    folder = serve(settings)
    result = read_result(folder.path)
    (stage,) = read_analysis(folder.path).stages
    assert result.metrics == {"flickr30k": captions.caption_metric()}
    assert "no METEOR" in result.metrics["flickr30k"]
    parts = stage.parts["flickr30k"]
    assert list(parts) == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]
    assert result.accuracy == [[fmean(parts.values())]]
    run = open_saved_run(folder.path)
    (again,) = evaluate_saved(run, run.tasks, "test", ("softmax",), tmp_path / "out")
    assert [score.accuracy for score in again.scores] == result.accuracy[-1]
    assert dict(again.scores[0].parts) == parts
    lines = [
        json.loads(line) for line in (again.folder / "predictions.jsonl").read_text().splitlines()
    ]
    assert [(line["right"], len(line["references"])) for line in lines] == [(None, 3)] * 2


def test_wrong_folders_are_told_at_the_start(tiny_folder, tmp_path, root):
    with pytest.raises(ConfigError) as caught:
        serve(config(tiny_folder, tmp_path / "run", "data", tasks="dvqa", data__partition="all"))
    text = str(caught.value)
    assert "data.root: 'data' is a relative path" in text
    assert "data.root: 'data' is not allowed; allowed: a folder with FCIT's data" in text
    assert "data.partition: 'all' is not allowed; allowed: one of seeded, files" in text
    with pytest.raises(ConfigError, match=r"data\.partition: 'files' is not allowed without"):
        serve(run_config(tiny_folder, tmp_path / "run", data__partition="files"))
    lacking = config(tiny_folder, tmp_path / "run", root, tasks="figureqa,dvqa")
    with pytest.raises(ConfigError, match="1 problem") as caught:
        serve(lacking)
    assert f"lacks {dataset('dvqa').test_path}. `fcit doctor` says" in str(caught.value)
    with pytest.raises(ConfigError, match=f"{dataset('dvqa').train_path}"):
        serve({**lacking, "method": "centralized"})
    assert not (tmp_path / "run").exists()
