"""The report of one or several runs: what stands in it."""

from __future__ import annotations

import json
import shlex
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from toy_events import TASKS, federated_run, full_analysis, full_result
from toy_results import toy_result, toy_run

from fcit_app.config import flatten, parse, parse_assignments
from fcit_app.errors import RunFolderError
from fcit_app.report import write_report
from fcit_app.report.provenance import command
from fcit_app.report.reading import read_run, references_of
from fcit_app.runs import RunAnalysis, RunFolder


class Tags(HTMLParser):
    """Checks that tags are closed in order; keeps texts of cells, headings and notes."""

    EMPTY = frozenset({"meta", "use", "path", "image", "rect"})

    def __init__(self):
        super().__init__()
        self.open, self.cells, self.headings, self.captions = [], [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in self.EMPTY:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data):
        for tag, found in (("h2", self.headings), ("caption", self.captions)):
            if self.open and self.open[-1] == tag:
                found.append(data.strip())
        if {"td", "th"} & set(self.open[-2:]):
            self.cells[-1] += data.strip()


def read(path):
    text = path.read_text()
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    return text, tags


def row_after(cells, name, count):
    """Cells that follow the one of this name."""
    return cells[cells.index(name) + 1 :][:count]


def test_a_finished_run_shows_everything(tmp_path):
    folder = federated_run(tmp_path / "run")
    text, tags = read(write_report([folder.path], folder.path / "report.html"))
    assert tags.headings == [
        "Learnt and kept",
        "Subspaces and who joined them",
        "Which subspaces questions wake",
        "General ability (per cent)",
        "Training loss",
        "Time and traffic",
        "Left out and refused",
        "Configuration, versions, and how to run it again",
    ]
    cells = tags.cells
    assert row_after(cells, "disco", 6) == ["41.0", "63.5", "97.0", "67.2", "77.9", "-37.5"]
    assert row_after(cells, "base, zero-shot", 4) == ["1.0", "1.0", "1.0", "1.0"]
    assert row_after(cells, "stage 2", 4) == ["62", "88", "3", "7"]
    assert row_after(cells, "subspace 0 (imagenet-r)", 2) == ["1.00", "0.96"]
    assert row_after(cells, "7", 3) != []
    assert "figureqa 30, ocr-vqa 29" in cells
    assert row_after(cells, "2 figureqa", 2) == ["7 (0.91)", "7 ★"]
    assert row_after(cells, "all", 5) == ["6", "13 s", "12 s", "12.0", "18.0"]
    reason = ["quarantined", "6", "1.1, 1.2, 2.1, 2.2, 3.1, 3.2", "values that are not finite"]
    assert row_after(cells, "client 2", 4) == reason
    assert "client 2 in stage 3" in text
    assert "tau = 0.9 on; the nearest two are at 0.96" in " ".join(tags.captions)
    assert "<b>" not in text[: text.index('class="cards"')]  # nothing is missing
    assert "ab12" in text
    assert "0123abc" in text


def test_what_goes_beyond_accuracy(tmp_path):
    folder = federated_run(tmp_path / "run")
    text, tags = read(write_report([folder.path], tmp_path / "report.html"))
    cells = tags.cells
    assert row_after(cells, "gain", 6) == ["1", "80.5", "0.250", "0.625", "5.5", "-1.5"]
    assert "Forward transfer: +3.0 points" in text
    assert "grey: not trained by then" in text
    assert row_after(cells, "skill", 2) == ["before training", "after stage 3"]
    assert row_after(cells, "mean over skills", 2) == ["88.0", "64.0"]
    assert row_after(cells, "ocr-vqa", 2) != []
    assert "0.75" in cells


def test_a_run_without_tokens_shows_no_activation(tmp_path):
    bare = {"subspaces": None, "activation": None, "routing_accuracy": None, "entropy": None}
    bare |= {"normalised_entropy": None, "transfer_accuracy": None, "transfer_gain": None}
    bare |= {"general": None, "unseen_accuracy": []}
    stages = [stage | bare for stage in full_analysis().model_dump()["stages"]]
    nothing = {"unseen": [], "zero_shot": [0.0] * 3, "general": None, "forward_transfer": None}
    run = toy_run(tmp_path / "run", full_result())
    content = full_analysis().model_dump() | {"stages": stages} | nothing
    RunFolder(run).write_analysis(RunAnalysis.check(content))
    _, tags = read(write_report([run], tmp_path / "report.html"))
    assert "Which subspaces questions wake" not in tags.headings
    assert "General ability (per cent)" not in tags.headings


def test_several_runs_stand_side_by_side(tmp_path):
    results = [
        full_result("disco", seed=1),
        full_result("disco"),
        toy_result("zero-shot", tasks=TASKS, accuracy=[[1.0, 2.0, 3.0]], last=2.0),
    ]
    runs = [toy_run(tmp_path / str(number), result) for number, result in enumerate(results)]
    text, tags = read(write_report(runs, tmp_path / "all.html"))
    cells = tags.cells
    assert row_after(cells, "zero-shot", 6) == ["1.0", "2.0", "3.0", "2.0", "–", "–"]
    assert cells.index("zero-shot") < cells.index("disco, seed 0") < cells.index("disco, seed 1")
    assert "Mean accuracy over the tasks seen by then" in text
    learnt = text[text.index('id="accuracy"') :].split("</section>")[0]
    assert learnt.count("<article>") == 2  # the reference has no stages


def test_two_runs_that_nothing_tells_apart_go_by_their_folders(tmp_path):
    runs = [toy_run(tmp_path / name, full_result()) for name in ("first", "second")]
    text, _ = read(write_report(runs, tmp_path / "all.html"))
    assert "disco, seed 0, first" in text
    assert "disco, seed 0, second" in text


def test_references_beside_a_run_are_taken_in_if_they_are_of_the_same_data(tmp_path):
    def reference(name, method, **settings):
        config = flatten(parse({"method": method, "seed": 4, **settings}))
        row = {"tasks": TASKS, "accuracy": [[1.5, 2.5, 3.5]], "last": 2.5}
        folder = RunFolder.create(tmp_path / name, config, {})
        folder.write_result(toy_result(method, seed=4, **row).model_dump())

    run = federated_run(tmp_path / "run").path
    reference("blind", "blind")
    reference("joint", "centralized")
    reference("other-seed", "blind", seed=5)
    reference("other-data", "blind", **{"data.train-samples": 3})
    federated_run(tmp_path / "another")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "result.json").write_text("{")
    assert [r.folder.name for r in references_of([read_run(run)])] == ["blind", "joint"]
    _, tags = read(write_report([run], tmp_path / "report.html"))
    assert row_after(tags.cells, "blind", 4) == ["1.5", "2.5", "3.5", "2.5"]
    assert row_after(tags.cells, "centralized", 4) == ["1.5", "2.5", "3.5", "2.5"]


def test_capability_stages(tmp_path):
    result = toy_result(
        setting="capability",
        tasks=["arxivqa", "figureqa", "dvqa", "clevr-math"],
        accuracy=[[10.0, 20.0, 30.0], [11.0, 21.0, 31.0, 41.0]],
        subspaces=[{"id": 0, "task_counts": {"chart": 9}, "samples": 9, "first_stage": 1}],
    )
    text, tags = read(write_report([toy_run(tmp_path / "run", result)], tmp_path / "r.html"))
    assert "capability stages" in text
    assert row_after(tags.cells, "disco", 4) == ["11.0", "21.0", "31.0", "41.0"]
    assert "chart 9" in tags.cells


def test_the_same_runs_give_the_same_bytes(tmp_path):
    run = federated_run(tmp_path / "run").path
    pages = [write_report([run], tmp_path / f"{n}.html").read_bytes() for n in range(2)]
    assert pages[0] == pages[1]


def test_half_a_run_shows_what_there_is(tmp_path):
    folder = federated_run(tmp_path / "run", until=2)
    text, tags = read(write_report([folder.path], tmp_path / "report.html"))
    assert (
        "disco (unfinished)</b>: The run has not finished; it was last seen at: stage 2/3" in text
    )
    assert row_after(tags.cells, "disco (unfinished)", 4) == ["62.2", "88.0", "75.1", "83.3"]
    assert row_after(tags.cells, "stage 2", 2) == ["62", "88"]
    assert {"Training loss", "Time and traffic", "Left out and refused"} <= set(tags.headings)


def test_a_run_that_was_just_begun_or_failed(tmp_path):
    folder = federated_run(tmp_path / "run", until=0)
    text, tags = read(write_report([folder.path], tmp_path / "report.html"))
    assert "The run has not finished" in text
    assert row_after(tags.cells, "disco (unfinished)", 3) == ["–", "–", "–"]
    folder.ledger.record("run-failed", reason="no clients <left>")
    text, _ = read(write_report([folder.path], tmp_path / "report.html"))
    assert "The run failed: no clients &lt;left&gt;" in text


@pytest.mark.parametrize(
    "name", ["config.json", "environment.json", "ledger.jsonl", "analysis.json", "result.json"]
)
@pytest.mark.parametrize("content", [None, "{broken\n{}\n", '{"of": "another version"}\n'])
def test_what_is_missing_or_damaged_is_named_and_the_rest_is_shown(tmp_path, name, content):
    folder = federated_run(tmp_path / "run").path
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    text, tags = read(write_report([folder], tmp_path / "report.html"))
    harmless = content is not None and "version" in content
    if name in ("analysis.json", "result.json") or not harmless:
        assert 'class="missing"' in text
        assert name in text[: text.index("<nav")] or name == "result.json"
    if name not in ("result.json", "config.json"):
        assert "77.9" in text
    assert row_after(tags.cells, "stage 3", 3) == ["41", "64", "97"]


def test_a_damaged_state_is_named(tmp_path):
    folder = federated_run(tmp_path / "run").path
    (folder / "state" / "round.safetensors").write_bytes(b"no state")
    text, _ = read(write_report([folder], tmp_path / "report.html"))
    assert "holds no state that can be read" in text
    assert "identity tokens" not in text


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match=r"nowhere is not a run's folder"):
        write_report([tmp_path / "nowhere"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_command_makes_the_run_again(tmp_path):
    given = {
        "preset": "mini-smoke",
        "method": "finetune",
        "aggregator": "fedyogi",
        "aggregator.arguments": "eta=0.01, tau=1e-3",
        "seed": 7,
        "evaluate.transfer": True,
        "tasks": "figureqa,ocr-vqa",
        "out": str(tmp_path / "run"),
    }
    folder = RunFolder.create(tmp_path / "run", flatten(parse(given)), {})
    folder.ledger.record("run-started", method="finetune", stages=[], rounds=1, clients=8)
    words = shlex.split(command(read_run(folder.path)))
    assert words[:6] == ["fcit", "run", "--preset", "mini-smoke", "--method", "finetune"]
    assert words[-2:] == ["--clients", "8"]
    changed = [text for word, text in pairwise(words) if word == "--set"]
    again = {"preset": "mini-smoke", "method": "finetune", "out": given["out"]}
    assert parse(again | parse_assignments(changed)) == parse(given)


def test_nothing_of_a_run_becomes_markup(tmp_path):
    folder = federated_run(tmp_path / "run").path
    config = json.loads((folder / "config.json").read_text())
    evil = "<script>alert(1)</script>"
    (folder / "config.json").write_text(json.dumps(config | {"tasks": evil, "model.name": evil}))
    text, _ = read(write_report([folder], tmp_path / "report.html"))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 2
