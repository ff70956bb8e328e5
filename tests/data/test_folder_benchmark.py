"""Samples from a folder: lazy pictures, seeded choices, bad records refused or counted."""

from __future__ import annotations

import json

import pytest
from toy_folder import change, make_root, training_raw, write_json, write_picture

from fcit_app.data.folder.benchmark import FolderBenchmark
from fcit_app.data.folder.datasets import dataset
from fcit_app.data.folder.private import chosen, own_data, private_samples
from fcit_app.data.sample import Sample
from fcit_app.errors import DataError

TRAIN = dataset("figureqa").train_path


def benchmark(root, seed=0, train=1000, test=1000, **more) -> FolderBenchmark:
    return FolderBenchmark(root, seed, train, test, **more)


def names(samples) -> list[str]:
    return [sample.identifier for sample in samples]


def pixels(sample: Sample) -> bytes:
    return sample.picture().tobytes()


def test_all_samples_of_a_task(tmp_path):
    found = benchmark(make_root(tmp_path))
    train, validation = found.training_samples("figureqa"), found.validation_samples("figureqa")
    asked = found.test_samples("figureqa")
    assert (len(train), len(validation), len(asked)) == (27, 3, 4)
    assert len(set(names([*train, *validation, *asked]))) == 34
    sample = asked[0]
    assert sample.task == "figureqa"
    assert sample.question == "Is this about figureqa?"
    assert sample.answer == "Yes"
    assert sample.answer_tokens == 128
    assert sample.picture().mode == "RGB"
    # No picture is in two splits.
    assert len({pixels(sample) for sample in [*train, *validation, *asked]}) == 34


def test_choices_are_seeded_and_smaller_ones_lie_in_larger_ones(tmp_path):
    root = make_root(tmp_path)
    few = names(benchmark(root, train=8, test=2).training_samples("figureqa"))
    assert len(few) == 8
    assert few == names(benchmark(root, train=8, test=2).training_samples("figureqa"))
    assert set(few) < set(names(benchmark(root, train=9, test=2).training_samples("figureqa")))
    assert few != names(benchmark(root, 1, train=8, test=2).training_samples("figureqa"))
    assert len(benchmark(root, train=8, test=2).test_samples("figureqa")) == 2


def test_pictures_are_opened_when_looked_at(tmp_path):
    root = make_root(tmp_path)
    samples = benchmark(root).training_samples("figureqa")
    for file in (root / "datasets").rglob("*.png"):
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError) as caught:
        samples[0].picture()
    assert "train.json, record" in str(caught.value)
    assert "cannot be read" in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"image": "../secret.png"},
        {"image": "FigureQA/images/none.png"},
        {"conversations": training_raw("a", "q", "a")["conversations"][:1]},
        {"conversations": training_raw("a", "an <image> q", "a")["conversations"]},
        {"conversations": training_raw("a", "q", "word " * 2000)["conversations"]},
    ],
)
def test_bad_records_are_refused_or_counted(tmp_path, caplog, fields):
    root = make_root(tmp_path)
    change(root / TRAIN, 5, **fields)
    with pytest.raises(DataError) as caught:
        benchmark(root).training_samples("figureqa")
    assert f"{root / TRAIN}, record 5 (counted from 0): " in str(caught.value)
    assert "data.on-bad-sample=skip" in str(caught.value)
    skipping = benchmark(root, policy="skip")
    whole = [*skipping.training_samples("figureqa"), *skipping.validation_samples("figureqa")]
    assert len(whole) == len(set(names(whole))) == 29
    assert "1 records skipped (1 " in caplog.text
    assert "record 5" in caplog.text


def test_a_truncated_picture_is_skipped_when_reading(tmp_path, caplog):
    root = make_root(tmp_path)
    file = root / "datasets" / json.loads((root / TRAIN).read_text())[7]["image"]
    file.write_bytes(file.read_bytes()[:-300])
    samples = benchmark(root, policy="skip").training_samples("figureqa")
    assert not any("/7@" in name for name in names(samples))
    assert "unreadable-image" in caplog.text


def test_missing_folders_and_files(tmp_path):
    root = make_root(tmp_path)
    with pytest.raises(DataError, match=r"DVQA/train\.json: the file cannot be read"):
        benchmark(root).training_samples("dvqa")
    (root / "datasets").rename(root / "elsewhere")
    with pytest.raises(DataError, match="the folder of the pictures is missing"):
        benchmark(root).training_samples("figureqa")
    write_json(root / TRAIN, {"records": []})
    (root / "elsewhere").rename(root / "datasets")
    with pytest.raises(DataError, match="must hold a JSON array"):
        benchmark(root).training_samples("figureqa")


def test_turns_become_samples_with_one_picture(tmp_path):
    root = make_root(tmp_path, ["grounding"], train=10, test=2)
    entry = dataset("grounding")
    raw = json.loads((root / entry.train_path).read_text())[3]
    change(
        root / entry.train_path,
        3,
        conversations=training_raw("", "one?", "[0, 0, 1, 1]", "two?", "[0, 0, 1, 1]")[
            "conversations"
        ],
    )
    found = benchmark(root)
    samples = [*found.training_samples("grounding"), *found.validation_samples("grounding")]
    turns = [sample for sample in samples if "/3@" in sample.identifier]
    assert [sample.identifier[-3:] for sample in turns] == ["3@0", "3@1"]
    assert pixels(turns[0]) == pixels(turns[1])
    assert raw["image"].startswith("COCO2014")


def test_captions_are_matched_by_order(tmp_path):
    root = make_root(tmp_path, ["flickr30k"], train=4, test=3)
    entry = dataset("flickr30k")
    coco = {
        "images": [{"id": n} for n in (1, 2, 3)],
        "annotations": [
            {"image_id": n, "id": 10 * n + k, "caption": f"caption {k} of {n}"}
            for k in range(5)
            for n in (3, 1, 2)
        ],
    }
    file = write_json(root / entry.captions_path, coco)
    samples = benchmark(root).test_samples("flickr30k")
    assert [sample.answer for sample in samples] == [f"caption 0 of {n}" for n in (1, 2, 3)]
    assert [sample.references for sample in samples] == [
        tuple(f"caption {k} of {n}" for k in range(5)) for n in (1, 2, 3)
    ]
    # A training record has one caption.
    for sample in benchmark(root).training_samples("flickr30k"):
        assert sample.references == (sample.answer,)
    write_json(file, {**coco, "images": coco["images"][:2]})
    with pytest.raises(DataError, match="references for 2 pictures"):
        benchmark(root).test_samples("flickr30k")
    write_json(file, {**coco, "annotations": coco["annotations"][1:2]})
    with pytest.raises(DataError, match="2 pictures have no caption, the first is 2"):
        benchmark(root).test_samples("flickr30k")
    write_json(file, coco["images"])
    with pytest.raises(DataError, match="not in COCO's caption form"):
        benchmark(root).test_samples("flickr30k")


def test_any_folder_is_a_clients_private_task(tmp_path):
    write_picture(tmp_path / "photos" / "1.jpg", 1)
    write_json(tmp_path / "b.json", [training_raw("photos/1.jpg", "q", "a", "r", "b")])
    write_json(tmp_path / "a.json", [training_raw("photos/1.jpg", "s", "c")] * 2)
    found = private_samples(tmp_path, "x-rays")
    assert [sample.question for sample in found.samples] == ["s", "s", "q", "r"]
    assert {sample.task for sample in found.samples} == {"x-rays"}
    assert len(set(names(found.samples))) == 4
    change(tmp_path / "a.json", 1, image="photos/2.jpg")
    with pytest.raises(DataError, match=r"a\.json, record 1"):
        private_samples(tmp_path, "x-rays")
    skipped = private_samples(tmp_path, "x-rays", "skip").skipped
    assert [(defect.kind, defect.record) for defect in skipped] == [("missing-image", 1)]
    (tmp_path / "photos" / "1.jpg").unlink()
    with pytest.raises(DataError, match=r"no usable record. 3 records skipped \(3 missing-image\)"):
        private_samples(tmp_path, "x-rays", "skip")
    with pytest.raises(DataError, match=r"there is no \.json file"):
        private_samples(tmp_path / "photos", "x-rays")


def test_the_nodes_own_folder(tmp_path):
    assert own_data({"partition-id": 0}) is None
    shards, rays = tmp_path / "shards", tmp_path / "x-rays"
    (shards / "partitioned_data").mkdir(parents=True)
    own = own_data({"data-root": str(shards)})
    assert (own.root, own.task, own.stages) == (shards, "", ())
    write_json(rays / "mine.json", [])
    (rays / "datasets").mkdir()  # pictures of a private task may lie there, too
    for given, task, stages in (
        ({}, "private/x-rays", ()),
        ({"data-task": "radiology"}, "private/radiology", ()),
        ({"data-stages": 2}, "private/x-rays", (2,)),
        ({"data-stages": "3, 1,3"}, "private/x-rays", (1, 3)),
    ):
        own = own_data({"data-root": str(rays), **given})
        assert (own.root, own.task, own.stages) == (rays, task, stages)
    with pytest.raises(DataError, match="--node-config") as caught:
        own_data({"data-root": str(rays), "data-task": "a/b", "data-stages": True})
    assert "data-task = 'a/b' is not" in str(caught.value)  # all that is wrong, at once
    assert "data-stages = True is not" in str(caught.value)


def test_a_choice_of_private_samples_is_seeded_and_in_order(tmp_path):
    write_picture(tmp_path / "1.jpg", 1)
    write_json(tmp_path / "a.json", [training_raw("1.jpg", str(n), "a") for n in range(30)])
    samples = private_samples(tmp_path, "private/x").samples
    few = chosen(samples, 8, seed=0)
    assert few == chosen(samples, 8, seed=0) != chosen(samples, 8, seed=1)
    assert sorted(few, key=samples.index) == list(few)
    assert len(set(names(few))) == 8
    assert chosen(samples, 30, seed=0) == samples


def test_the_servers_test_samples_of_a_private_task(tmp_path):
    root = make_root(tmp_path, test=2)
    write_picture(root / "private/x-rays/scans/1.png", 1)
    write_json(root / "private/x-rays/test.json", [training_raw("scans/1.png", "Which?", "cor")])
    (sample,) = benchmark(root).test_samples("private/x-rays")
    assert (sample.task, sample.question, sample.answer) == ("private/x-rays", "Which?", "cor")
    assert sample.answer_tokens == 128
    assert sample.picture().size == (24, 24)
