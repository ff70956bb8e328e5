"""Every bad input of data and models that issue 4 names, through the program's own doors.

Each is named with its file and, if it is a record, with that; refused or, where
``data.on-bad-sample = skip``, left out, counted and reported; never a stack trace alone.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from app_runs import events, run_config, serve
from in_process_grid import InProcessGrid
from paper_files import save_terse_llava
from toy_folder import change, make_root, training_raw, write_json, write_picture

from client_app.app import app as client_app
from fcit_app.data.folder.private import private_samples
from fcit_app.doctor import examine
from fcit_app.errors import DataError, FcitError, ModelError
from fcit_app.runs import RunFolder, read_result

GOOD = 8
"""Records of a client; those numbered BAD and, of some cases, others are bad."""
BAD = 3


def talk(*texts: str) -> list[dict[str, str]]:
    return training_raw("", *texts)["conversations"]


def fields(**changed: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder / "train.json", BAD, **changed)


def cut_picture(folder: Path) -> None:
    picture = folder / f"scans/{BAD}.png"
    picture.write_bytes(picture.read_bytes()[:200])


def no_image_folder(folder: Path) -> None:
    shutil.rmtree(folder / "scans")


@dataclass(frozen=True)
class Case:
    """One bad input of a client's own data.

    Parameters
    ----------
    name : str
        What is wrong.
    spoil : callable
        Makes it so in a folder of sound data.
    kind : str
        What the doctor calls it.
    told : str
        What every door says of it.
    left : int
        Records that are left with ``skip``; 0 where nothing can be used.
    """

    name: str
    spoil: Callable[[Path], None]
    kind: str
    told: str
    left: int = GOOD - 1

    @property
    def place(self) -> str:
        """What names the place, in the folder."""
        if self.kind == "unusable-file":
            return "train.json"
        return f"train.json, record {BAD if self.left else 0} (counted from 0)"


RECORDS = (
    Case("truncated image", cut_picture, "unreadable-image", "cannot be read: "),
    Case("missing image", fields(image="scans/none.png"), "missing-image", "is missing"),
    Case("no assistant turn", fields(conversations=talk("q", "a")[:1]), "no-answer", "assistant"),
    Case("path out of the root", fields(image="../x.png"), "outside-root", "must stay below"),
    Case(
        "placeholder", fields(conversations=talk("an <image>?", "a")), "placeholder-in-text", "once"
    ),
    Case(
        "long answer",
        fields(conversations=talk("q", "word " * 2000)),
        "answer-too-long",
        "leaves 1472 beside the picture",
    ),
    Case("no object", lambda folder: no_object(folder), "no-object", "must be an object"),
    Case(
        "half a character",
        fields(conversations=talk("q \ud800", "a")),
        "not-unicode",
        "half a character",
    ),
)
FILES = (
    Case(
        "no array",
        lambda folder: write_json(folder / "train.json", {"records": []}),
        "unusable-file",
        "must hold a JSON array",
        0,
    ),
    Case(
        "cut short",
        lambda folder: (folder / "train.json").write_text('[{"image": "sc'),
        "unusable-file",
        "Was the file cut short?",
        0,
    ),
    Case("no image folder", no_image_folder, "missing-image", "is missing", 0),
)
CASES = (*RECORDS, *FILES)


def no_object(folder: Path) -> None:
    content = json.loads((folder / "train.json").read_text())
    content[BAD] = "text"
    write_json(folder / "train.json", content)


def sound(folder: Path) -> Path:
    """A client's own data, with nothing wrong."""
    for number in range(GOOD):
        write_picture(folder / "scans" / f"{number}.png", number)
    records = [training_raw(f"scans/{n}.png", f"Which organ is {n}?", "cor") for n in range(GOOD)]
    write_json(folder / "train.json", records)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    """One for each case, and a sound one."""
    root = tmp_path_factory.mktemp("clients")
    found = [sound(root / f"{number}") for number in range(len(CASES) + 1)]
    for case, folder in zip(CASES, found, strict=False):
        case.spoil(folder)
    return found


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: CASES[n].name)
def test_the_doctor_and_the_reader_name_it(folders, number):
    case, folder = CASES[number], folders[number]
    report = examine(folder)
    assert {(finding.kind, finding.level) for finding in report.findings} == {(case.kind, "error")}
    example = report.findings[0].examples[0]
    assert case.place.removesuffix(" (counted from 0)") in example
    assert case.told in example
    for policy in ("refuse", "skip"):
        if policy == "skip" and case.left:
            found = private_samples(folder, "private/x", policy)
            assert len(found.samples) == case.left
            (defect,) = found.skipped
            text = str(defect)
        elif case.kind == "unreadable-image":  # found when it is looked at
            with pytest.raises(DataError) as caught:
                private_samples(folder, "private/x", policy).samples[BAD].picture()
            text = str(caught.value)
        else:
            with pytest.raises(DataError) as caught:
                private_samples(folder, "private/x", policy)
            text = str(caught.value)
        assert f"{folder}/{case.place}" in text
        assert case.told in text


def run_of(tiny_folder: Path, folders: list[Path], out: Path, policy: str) -> Any:
    """A run in which each client has one of the folders as its private task."""
    changes = {"clients_per_round": len(folders), "rounds": 2, "tasks": "figureqa"}
    config = run_config(tiny_folder, out, data__on_bad_sample=policy, train__steps=1, **changes)
    config["data.train-samples"] = 100
    grid = InProcessGrid(client_app, len(folders), run_config=config)
    for node, folder in zip(grid.contexts, folders, strict=True):
        grid.contexts[node].node_config.update({"data-root": str(folder), "data-task": "organs"})
    return serve(config, grid)


def test_refused_it_costs_the_client_its_rounds(folders, tiny_folder, tmp_path):
    run = run_of(tiny_folder, folders, tmp_path / "run", "refuse")
    rejected = {e["client"]: e["reason"] for e in events(run, "client-rejected")}
    assert sorted(rejected) == list(range(len(CASES)))
    for number, case in enumerate(CASES):
        assert f"{folders[number]}/{case.place}" in rejected[number]
        assert case.told in rejected[number]
        assert "Traceback" not in rejected[number]
    assert [s.samples for s in read_result(run.path).subspaces] == [GOOD]
    assert not events(run, "samples-skipped")


def test_skipped_it_is_counted_and_the_rest_is_learnt(folders, tiny_folder, tmp_path):
    run = run_of(tiny_folder, folders, tmp_path / "run", "skip")
    rejected = {e["client"]: e["reason"] for e in events(run, "client-rejected")}
    lost = [number for number, case in enumerate(CASES) if not case.left]
    assert sorted(rejected) == lost
    for number in lost:
        assert f"{folders[number]}/{CASES[number].place}" in rejected[number]
    # once a client, whatever the number of rounds
    told = {event["client"]: event for event in events(run, "samples-skipped")}
    assert len(events(run, "samples-skipped")) == len(told) == len(RECORDS)
    for number, case in enumerate(RECORDS):
        assert told[number]["records"] == 1
        assert (
            f"1 records skipped (1 {case.kind}); the first: {folders[number]}/"
            in (told[number]["text"])
        )
        assert case.place in told[number]["text"]
    expected = sum(case.left for case in CASES) + GOOD
    assert sum(s.samples for s in read_result(run.path).subspaces) == expected
    page = (run.path / "report.html").read_text()
    assert "records left out" in page
    assert "1 answer-too-long" in page


@pytest.mark.parametrize("policy", ["refuse", "skip"])
def test_the_servers_own_test_records(tiny_folder, tmp_path, policy, monkeypatch):
    monkeypatch.setattr("fcit_app.data.folder.benchmark.GENERATION_LENGTH", 3)
    root = make_root(tmp_path / "data", ["figureqa"], train=24, test=3)
    test = root / "instructions/FigureQA/test.json"
    change(test, 1, text="an <image>?")
    changes = {"tasks": "figureqa", "rounds": 1, "data__min_samples": 2, "data__root": str(root)}
    config = run_config(tiny_folder, tmp_path / "run", data__on_bad_sample=policy, **changes)
    if policy == "refuse":
        with pytest.raises(DataError, match=r"test\.json, record 1 .*<image> stands inside"):
            serve(config)
        return
    (event,) = events(serve(config), "samples-skipped")
    assert (event["client"], event["records"]) == (None, 1)
    assert event["text"].startswith("figureqa (test samples): 1 records skipped")
    assert f"{test}, record 1 (counted from 0)" in event["text"]


TRAIN, TEST = "instructions/FigureQA/train.json", "instructions/FigureQA/test.json"


@pytest.mark.parametrize("policy", ["refuse", "skip"])
@pytest.mark.parametrize(
    ("spoil", "kind", "told"),
    [
        (
            lambda root: shutil.rmtree(root / "datasets"),
            "missing-folder",
            "{root}/datasets: the folder of the pictures is missing. `fcit doctor`",
        ),
        (
            lambda root: write_json(root / TEST, {}),
            "unusable-file",
            "{root}/" + TEST + ": the file must hold a JSON array",
        ),
        (  # the clients' to read: the first reason stops the run
            lambda root: write_json(root / TRAIN, {}),
            "unusable-file",
            "{root}/" + TRAIN + ": the file must hold a JSON array",
        ),
    ],
    ids=["no image folder", "test records no array", "training records no array"],
)
def test_files_of_fcits_layout_are_always_an_error(
    tiny_folder, tmp_path, monkeypatch, policy, spoil, kind, told
):
    monkeypatch.setattr("fcit_app.data.folder.benchmark.GENERATION_LENGTH", 3)
    root = make_root(tmp_path / "data", ["figureqa"], train=24, test=2)
    spoil(root)
    assert {finding.kind for finding in examine(root, ["figureqa"]).findings} == {kind}
    changes = {"tasks": "figureqa", "data__root": str(root), "data__on_bad_sample": policy}
    with pytest.raises(FcitError) as caught:
        serve(run_config(tiny_folder, tmp_path / "run", **changes))
    assert told.format(root=root) in str(caught.value)
    (failed,) = events(RunFolder(tmp_path / "run"), "run-failed")
    assert failed["reason"] == str(caught.value)


@pytest.mark.parametrize("policy", ["refuse", "skip"])
@pytest.mark.parametrize("method", ["disco", "zero-shot"])
def test_models_are_refused_before_there_is_a_run(tiny_folder, tmp_path, policy, method):
    other = Path(shutil.copytree(tiny_folder, tmp_path / "other"))
    settings = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(settings | {"model_type": "gpt2"}))
    pickled = Path(shutil.copytree(tiny_folder, tmp_path / "pickled"))
    (pickled / "model.safetensors").unlink()
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    for folder, told in (
        (other, f"{other}/config.json describes a model of type 'gpt2', which is not supported"),
        (pickled, f"{pickled} has only pickled weights (pytorch_model.bin), which can run code"),
    ):
        config = run_config(folder, tmp_path / "run", data__on_bad_sample=policy, method=method)
        with pytest.raises(ModelError) as caught:
            serve(config)
        assert told in str(caught.value)
        assert isinstance(caught.value, FcitError)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("policy", ["refuse", "skip"])
def test_an_answer_too_long_for_this_base_but_not_for_the_papers(tmp_path, policy):
    context = 208
    terse = save_terse_llava(tmp_path / "terse", context)
    folder = sound(tmp_path / "clients")
    answer = "word " * context
    fields(conversations=talk("q", answer))(folder)
    assert len(private_samples(folder, "private/x", "refuse").samples) == GOOD
    run = run_of(terse, [folder, sound(tmp_path / "sound")], tmp_path / "run", policy)
    rejected = {e["client"]: e["reason"] for e in events(run, "client-rejected")}
    if policy == "refuse":
        assert list(rejected) == [0]
        assert f"the model '{terse}' allows {context} together" in rejected[0]
        assert f"/{BAD}@" in rejected[0]
        return
    assert not rejected
    (event,) = events(run, "samples-skipped")
    assert (event["client"], event["records"]) == (0, 1)
    assert f"longer than the base's context of {context} tokens" in event["text"]
    assert f"/{BAD}@" in event["text"]
    assert sum(s.samples for s in read_result(run.path).subspaces) == 2 * GOOD - 1
