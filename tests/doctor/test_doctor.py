"""`fcit doctor` finds every defect that was put in, and nothing in sound data."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tracemalloc
import typing
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from toy_folder import change, make_root, training_raw, write_json, write_picture

from fcit_app import cli
from fcit_app.data.catalogue import stages
from fcit_app.data.folder.datasets import dataset
from fcit_app.data.folder.defects import Kind
from fcit_app.data.folder.write_partition import write_partition
from fcit_app.doctor import Report, examine, print_report
from fcit_app.doctor.checksums import Checksums, checksum
from fcit_app.doctor.examine import Progress
from fcit_app.doctor.findings import RULES, Findings
from fcit_app.errors import DataError

TASKS = ("clevr-math", "arxivqa")
TRAIN, TEST = dataset("clevr-math").train_path, dataset("clevr-math").test_path


@pytest.fixture
def root(tmp_path):
    return make_root(tmp_path, (*TASKS, "grounding"), train=8, test=3)


def kinds(report: Report) -> Counter[str]:
    """How often each kind was found, wherever."""
    return sum((Counter({f.kind: f.count}) for f in report.findings), Counter())


def talk(*turns: str):
    return training_raw("", *turns)["conversations"]


def test_sound_data_have_no_finding(root):
    write_partition(root, "task", TASKS, 1.0, 3, 0)
    told, read = [], []
    report = examine(
        root, (*TASKS, "grounding"), progress=Progress(told.append, lambda n: None, read.append)
    )
    assert report.findings == ()
    assert report.sound
    assert told == [sum(read)]
    entry = report.datasets[0]
    assert (entry.name, entry.capability, entry.licence) == ("clevr-math", "math", "CC BY 4.0")
    assert (entry.train.records, entry.train.samples, entry.train.pictures) == (8, 8, 8)
    assert (entry.train.expected, entry.test.records) == (40_000, 3)
    (partition,) = report.partitions
    assert partition.stages == TASKS
    assert (partition.clients, partition.records, partition.manifest) == (3, 16, True)


def test_what_is_missing_is_named_with_its_source(root):
    report = examine(root)
    by_place = {(f.where, f.kind): f for f in report.findings}
    assert not report.sound
    missing = by_place["dvqa", "missing-file"]
    assert missing.count == 2
    assert missing.examples[0].startswith("instructions/DVQA/train.json (from https://hugg")
    folder = by_place["aokvqa", "missing-folder"]
    assert folder.examples == (
        f"datasets/COCO2014/val2014 (from {dataset('aokvqa').pictures_from})",
    )
    assert "clevr-math" not in {finding.where for finding in report.findings}


WORDS = " ".join(["word"] * 90)


@pytest.mark.parametrize(
    ("kind", "file", "fields"),
    [
        ("missing-image", TRAIN, {"image": "CLEVR/images/none.png"}),
        ("outside-root", TRAIN, {"image": "CLEVR/../../x.png"}),
        ("no-image", TEST, {"image": None}),
        ("no-answer", TRAIN, {"conversations": talk("q", "3")[:1]}),
        ("no-question", TEST, {"text": ""}),
        ("placeholder-in-text", TEST, {"text": "an <image> there"}),
        ("answer-too-long", TRAIN, {"conversations": talk("q", "word " * 2000)}),
        ("answer-format", TEST, {"answer": "three"}),
        ("long-prompt", TEST, {"text": WORDS}),
        ("unknown-suffix", TEST, {"text": "How many?"}),
        ("duplicate-id", TRAIN, {"id": 2}),
        ("duplicate-sample", TRAIN, {"image": "CLEVR/images/clevr-math/2.png"}),
        ("leak", TEST, {"image": "CLEVR/images/clevr-math/2.png"}),
        ("shared-picture", TEST, {"image": "CLEVR/images/clevr-math/2.png"}),
        ("foreign-picture", TRAIN, {"image": "ArxivQA/images/arxivqa/2.png"}),
    ],
)
def test_each_defect_of_a_record(root, kind, file, fields):
    change(root / file, 1, **fields)
    shown = 2 if kind.startswith("duplicate") else 1  # the second of a pair
    report = examine(root, TASKS)
    (finding,) = (found for found in report.findings if found.kind == kind)
    assert (finding.where, finding.count) == ("clevr-math", 1)
    assert f"record {shown}" in finding.examples[0]
    assert report.sound == all(RULES[found].level == "warning" for found in kinds(report))


def test_every_kind_of_record_defect_is_a_rule():
    assert set(typing.get_args(Kind)) < set(RULES)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_truncated_picture(root, suffix):
    image = f"CLEVR/images/cut.{suffix}"
    write_picture(root / "datasets" / image, 99)
    file = root / "datasets" / image
    assert kinds(examine(root, TASKS)) == {}
    change(root / TRAIN, 4, image=image)
    assert kinds(examine(root, TASKS)) == {}
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    report = examine(root, TASKS)
    assert kinds(report) == {"unreadable-image": 1}
    assert "record 4" in report.findings[0].examples[0]
    assert kinds(examine(root, TASKS, whole_pictures=False)) == {}


def test_the_same_picture_under_another_name(root):
    source = root / "datasets" / "CLEVR/images/clevr-math/2.png"
    (root / "datasets" / "CLEVR/images/copy.png").write_bytes(source.read_bytes())
    change(root / TEST, 0, image="CLEVR/images/copy.png")
    assert kinds(examine(root, TASKS)) == {"shared-picture": 1}


def test_files_that_cannot_be_used(root):
    write_json(root / TRAIN, {"records": []})
    (root / TEST).write_text("[1, 2")
    report = examine(root, TASKS)
    assert kinds(report) == {"unusable-file": 2, "no-object": 2}
    assert report.datasets[0].train.records is None
    change(root / dataset("arxivqa").test_path, 0, answer="(B)")
    assert kinds(examine(root, TASKS))["answer-format"] == 1


def test_grounding(root):
    entry = dataset("grounding")
    turns = ("where?", "[0.1, 0.2, 0.3, 0.4]", "what is at [0.1, 0.2, 0.3, 0.4]?", "a dog")
    change(root / entry.train_path, 0, conversations=talk(*turns))
    report = examine(root, ["grounding"])
    assert report.sound
    assert report.datasets[0].train.samples == 9
    change(root / entry.train_path, 1, conversations=talk("where?", "there"))
    change(root / entry.test_path, 1, answer="[0.5, 0.2, 0.3, 0.4]")
    assert kinds(examine(root, ["grounding"])) == {"answer-format": 2}


def test_partitions_are_judged(root):
    folder = write_partition(root, "task", TASKS, 1.0, 3, 0)
    change(folder / "Task1" / "client_0.json", 0, image="../x.png")
    (folder / "Task2" / "client_2.json").unlink()
    (root / "partitioned_data" / "Task-related" / "seq" / "5.0").mkdir()
    found = {
        (finding.where[-3:], finding.kind): finding for finding in examine(root, TASKS).findings
    }
    assert found["1.0", "outside-root"].count == 1
    assert "[2, 3] clients" in found["1.0", "partition"].examples[0]
    assert "manifest" in found["1.0", "partition"].examples[1]
    assert "no stage" in found["5.0", "partition"].examples[0]


def test_any_folder_of_json(tmp_path):
    write_picture(tmp_path / "p" / "1.jpg", 1)
    write_json(tmp_path / "mine.json", [training_raw("p/1.jpg", "q", "a")])
    report = examine(tmp_path)
    assert report.sound
    assert report.kind == "private"
    (entry,) = report.datasets
    assert (entry.name, entry.train.records, entry.licence) == ("mine.json", 1, None)
    write_json(tmp_path / "mine.json", [training_raw("p/2.jpg", "q", "a")])
    assert kinds(examine(tmp_path)) == {"missing-image": 1}


def test_records_without_a_picture_are_counted(tmp_path, capsys):
    write_picture(tmp_path / "p" / "1.jpg", 1)
    talk = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    raw = [training_raw("p/1.jpg", "q", "a"), {"conversations": talk}]
    write_json(tmp_path / "mine.json", raw)
    report = examine(tmp_path)
    assert report.findings == ()
    (entry,) = report.datasets
    assert (entry.train.records, entry.train.pictures, entry.train.text_alone) == (2, 1, 1)
    write_json(tmp_path / "mine.json", [*raw, {**raw[0], "image": None}, {"conversations": talk}])
    assert kinds(examine(tmp_path)) == {"placeholder-in-text": 1, "duplicate-sample": 1}
    console = Console(file=io.StringIO(), width=160)
    print_report(examine(tmp_path), console)
    assert "no picture" in console.file.getvalue()


def test_a_private_task_on_the_server_has_no_leak(root):
    talk = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    folder = root / "private/letters"
    write_json(folder / "train.json", [{"conversations": talk}])
    write_json(folder / "test.json", [{"conversations": talk}])
    report = examine(root, TASKS)
    assert [(f.where, f.kind) for f in report.findings] == [("private/letters", "leak")]
    assert report.datasets[-1].test.text_alone == 1


def test_a_clients_machine_holds_its_shards_only(root):
    folder = write_partition(root, "task", TASKS, 1.0, 3, 0)
    (folder / "manifest.json").unlink()
    shutil.rmtree(root / "instructions")
    for client in (0, 2):
        for stage in ("Task1", "Task2"):
            (folder / stage / f"client_{client}.json").unlink()
    report = examine(root)
    assert report.kind == "shards"
    assert report.findings == ()
    names = [entry.name.partition("/1.0/")[2] for entry in report.datasets]
    assert names == ["Task1/client_1.json", "Task2/client_1.json"]
    assert report.partitions[0].stages == TASKS
    change(folder / "Task1" / "client_1.json", 0, image="CLEVR/images/none.png")
    assert kinds(examine(root)) == {"missing-image": 1}
    shutil.rmtree(root / "datasets")
    assert kinds(examine(root)) == {"missing-folder": 2}


def test_the_servers_test_records_of_a_private_task(root):
    write_picture(root / "private/x-rays/1.png", 5)
    test = root / "private/x-rays/test.json"
    write_json(test, [training_raw("1.png", "q", "a"), training_raw("2.png", "q", "a")])
    report = examine(root, TASKS)
    assert report.kind == "benchmark"
    (finding,) = report.findings
    assert (finding.where, finding.kind) == ("private/x-rays/test.json", "missing-image")


def test_memory_grows_by_checksums_only(tmp_path):
    write_picture(tmp_path / "1.png", 1)

    def peak(records: int) -> int:
        padding = "x" * 4000  # so that files are larger than what is read at once
        raw = [training_raw("1.png", str(n), "a", id=n, note=padding) for n in range(records)]
        write_json(tmp_path / "mine.json", raw)
        del raw
        tracemalloc.start()
        report = examine(tmp_path)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert report.datasets[0].train.records == records
        return most

    peak(10)  # what is allocated once
    assert peak(3000) - peak(1000) < 2000 * 250


def test_prompts_are_counted_with_a_tokenizer_if_there_is_one(root, tiny_folder):
    change(root / TEST, 1, text="xyzxyzxyz " * 20 + dataset("clevr-math").suffixes[0].strip())
    estimate, exact = examine(root, TASKS), examine(root, TASKS, tiny_folder)
    assert estimate.tokens.startswith("estimated")
    assert exact.tokens == f"counted with the tokenizer in {tiny_folder}"
    assert "long-prompt" not in kinds(estimate)
    assert kinds(exact)["long-prompt"] == 1
    with pytest.raises(DataError, match="there is no tokenizer"):
        examine(root, TASKS, root)


def test_findings_keep_few_examples():
    findings = Findings()
    for number in range(1000):
        findings.add("leak", "here", str(number))
    (finding,) = findings.all()
    assert (finding.count, finding.examples) == (1000, ("0", "1", "2"))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5000), max_size=3000))
def test_checksums_are_a_set(keys):
    found = Checksums()
    fresh = [found.add(key) for key in keys]
    taken = [key or 1 for key in keys]
    assert len(found) == sum(fresh) == len(set(taken))
    assert all(key in found for key in taken)
    assert checksum("no such key") not in found


def fcit(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fcit", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def test_the_command(root, monkeypatch, capsys):
    tasks = ("--tasks", ",".join(TASKS))
    assert fcit(monkeypatch, "doctor", str(root), *tasks) == 0
    shown = capsys.readouterr().out
    assert "Examined as FCIT's data sets (data.root of a run)" in shown
    assert "clevr-math" in shown
    assert "sound, 0 kinds of error" in shown
    change(root / TRAIN, 0, image="../x.png")
    assert fcit(monkeypatch, "doctor", str(root), *tasks, "--quick", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["sound"] is False
    assert told["findings"][0]["kind"] == "outside-root"
    assert told["datasets"][1]["licence"] == "CC BY-SA 4.0"
    assert fcit(monkeypatch, "doctor", str(root), "--tasks", "dvqua") == 2
    assert fcit(monkeypatch, "doctor", str(root / "none")) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_writing_a_partition(tmp_path, monkeypatch, capsys):
    make_root(tmp_path, stages("task"), train=6, test=1)
    assert fcit(monkeypatch, "partition", str(tmp_path), "--clients", "2", "--beta", "5") == 0
    assert capsys.readouterr().out.endswith("partitioned_data/Task-related/seq/5.0\n")
    report = examine(tmp_path, stages("task"), whole_pictures=False)
    assert report.partitions[0].stages == stages("task")
    for wrong in (("--beta", "0"), ("--setting", "tasks"), ("--clients", "7")):
        assert fcit(monkeypatch, "partition", str(tmp_path), *wrong) == 2


def test_it_prints_what_it_found_as_it_stands(root):
    change(root / TRAIN, 0, image="[red]../x[/red].png")
    console = Console(file=io.StringIO(), width=160)
    print_report(examine(root, TASKS), console)
    assert "[red]../x[/red].png" in console.file.getvalue()
