"""The report of one or several runs."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from toy_results import toy_result, toy_run

from fcit_app.errors import RunFolderError
from fcit_app.report import write_report
from fcit_app.report.plots import accuracy_heat_map, activation_heat_map, forgetting_curves
from fcit_app.runs import RunAnalysis, RunFolder, read_analysis

MATRIX = [[91.5], [62.25, 88.0], [41.0, 63.5, 97.0]]
TASKS = ["imagenet-r", "figureqa", "ocr-vqa"]
SUBSPACES = [
    {"id": 0, "task_counts": {"imagenet-r": 61}, "samples": 61, "first_stage": 1},
    {"id": 7, "task_counts": {"figureqa": 30, "ocr-vqa": 29}, "samples": 59, "first_stage": 2},
]


class Tags(HTMLParser):
    """Checks that tags are closed in order; keeps texts of cells."""

    EMPTY = frozenset({"meta", "use", "path", "image", "rect"})

    def __init__(self):
        super().__init__()
        self.open, self.cells, self.links = [], [], []

    def handle_starttag(self, tag, attributes):
        self.links += [v for k, v in attributes if k in ("href", "src", "xlink:href")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data.strip())


def full_result(method="disco", **fields):
    return toy_result(
        method,
        tasks=TASKS,
        accuracy=MATRIX,
        last=67.2,
        avg=77.9,
        transfer=-37.5,
        total=65.0,
        up=2_000_000,
        down=2_000_000,
        **fields,
    )


def read(path):
    text = path.read_text()
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    assert all(not link.startswith(("http", "/", "file")) for link in tags.links if link)
    return text, tags.cells


def test_one_run(tmp_path):
    run = toy_run(tmp_path / "run", full_result(subspaces=SUBSPACES))
    out = write_report([run], run / "report.html")
    assert out == run / "report.html"
    text, cells = read(out)
    row = cells.index("disco")
    assert cells[row + 1 : row + 7] == ["41.0", "63.5", "97.0", "67.2", "77.9", "-37.5"]
    assert cells[-8:] == [
        "0",
        "1",
        "61",
        "imagenet-r 61",
        "7",
        "2",
        "59",
        "figureqa 30, ocr-vqa 29",
    ]
    assert "disco 1:05 (2.0 MB up, 2.0 MB down)" in text
    assert text.count("<svg") == 2
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def analysed(path, **changes):
    """A finished run with everything measured."""
    run = toy_run(path, full_result())
    ability = {"short": 90.0, "sentences": 12.5, "mean": 64.0, "skills": {"read": 99.0}}
    stages = []
    for number, row in enumerate(MATRIX, start=1):
        activation = [
            {
                "task": task,
                "weights": [0.75, 0.25],
                "strongest": [0.8, 0.2],
                "routing_accuracy": 80.0,
                "entropy": 0.5,
                "normalised_entropy": 0.7,
            }
            for task in TASKS
        ]
        stages.append(
            {
                "stage": number,
                "seen": number,
                "accuracy": [*row, *[3.0] * (3 - number)],
                "unseen_accuracy": [7.0],
                "transfer_accuracy": 5.5,
                "transfer_gain": -1.5,
                "subspaces": [0, 7],
                "activation": activation,
                "routing_accuracy": 80.5,
                "entropy": 0.25,
                "normalised_entropy": 0.625,
                "general": ability if number == 3 else None,
            }
        )
    content = {
        "tasks": TASKS,
        "unseen": ["dvqa"],
        "zero_shot": [0.0] * 4,
        "general": ability | {"mean": 88.0},
        "forward_transfer": 3.0,
        "stages": stages,
    }
    RunFolder(run).write_analysis(RunAnalysis.check(content | changes))
    return run


def test_what_goes_beyond_accuracy(tmp_path):
    run = analysed(tmp_path / "run")
    text, cells = read(write_report([run], tmp_path / "report.html"))
    assert text.count("<svg") == 3
    row = cells.index("after stage")
    assert cells[row + 6 : row + 12] == ["1", "80.5", "0.250", "0.625", "5.5", "-1.5"]
    assert "Forward transfer: +3.0 points" in text
    assert "grey: not trained by then" in text
    row = cells.index("skill")
    assert cells[row : row + 3] == ["skill", "before training", "after stage 3"]
    row = cells.index("mean over skills")
    assert cells[row + 1 : row + 3] == ["88.0", "64.0"]


def test_an_upper_triangle_is_drawn_if_it_was_asked(tmp_path):
    analysis = read_analysis(analysed(tmp_path / "run"))

    def texts(*arguments):
        root = ElementTree.fromstring(accuracy_heat_map(*arguments))
        return ["".join(e.itertext()).strip() for e in root.iter() if e.tag.endswith("text")]

    plain, greyed = texts(full_result()), texts(full_result(), analysis)
    assert "dvqa" in greyed
    assert "dvqa" not in plain
    assert (greyed.count("3"), greyed.count("7")) == (3, 3)
    root = ElementTree.fromstring(activation_heat_map(analysis.stages[-1]))
    labels = {"".join(e.itertext()).strip() for e in root.iter() if e.tag.endswith("text")}
    assert {"subspace 0", "subspace 7", "0.75", "0.25", *TASKS} <= labels


def test_a_run_without_tokens_shows_no_activation(tmp_path):
    bare = {"subspaces": None, "activation": None, "routing_accuracy": None, "entropy": None}
    bare |= {"normalised_entropy": None, "transfer_accuracy": None, "transfer_gain": None}
    complete = read_analysis(analysed(tmp_path / "one")).model_dump()["stages"]
    stages = [stage | bare | {"general": None, "unseen_accuracy": []} for stage in complete]
    nothing = {"unseen": [], "zero_shot": [0.0] * 3, "general": None, "forward_transfer": None}
    run = analysed(tmp_path / "run", stages=stages, **nothing)
    text, cells = read(write_report([run], tmp_path / "report.html"))
    assert text.count("<svg") == 2
    assert "after stage" not in cells
    assert "skill" not in cells
    assert "grey:" not in text


def test_several_runs(tmp_path):
    results = [
        full_result("disco", seed=1),
        full_result("disco"),
        toy_result("zero-shot", tasks=TASKS, accuracy=[[1.0, 2.0, 3.0]], last=2.0),
    ]
    runs = [toy_run(tmp_path / str(number), result) for number, result in enumerate(results)]
    text, cells = read(write_report(runs, tmp_path / "all.html"))
    row = cells.index("zero-shot")
    assert cells[row : row + 7] == ["zero-shot", "1.0", "2.0", "3.0", "2.0", "–", "–"]
    assert row < cells.index("disco, seed 0") < cells.index("disco, seed 1")
    assert text.count("<h2>") == 4
    assert text.count("<svg") == 4


def test_capability_stages(tmp_path):
    result = toy_result(
        setting="capability",
        tasks=["arxivqa", "figureqa", "dvqa", "clevr-math"],
        accuracy=[[10.0, 20.0, 30.0], [11.0, 21.0, 31.0, 41.0]],
        subspaces=[{"id": 0, "task_counts": {"chart": 9}, "samples": 9, "first_stage": 1}],
    )
    text, cells = read(write_report([toy_run(tmp_path / "run", result)], tmp_path / "r.html"))
    assert "capability stages" in text
    row = cells.index("disco")
    assert cells[row + 1 : row + 5] == ["11.0", "21.0", "31.0", "41.0"]
    assert "chart 9" in cells


def test_the_same_runs_give_the_same_bytes(tmp_path):
    run = toy_run(tmp_path / "run", full_result())
    pages = [write_report([run], tmp_path / f"{n}.html").read_bytes() for n in range(2)]
    assert pages[0] == pages[1]


def test_an_unfinished_run_is_named(tmp_path):
    run = toy_run(tmp_path / "run", full_result())
    (run / "result.json").unlink()
    with pytest.raises(RunFolderError, match="has not finished"):
        write_report([run], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("plot", [accuracy_heat_map, forgetting_curves])
def test_plots_are_svg_whose_text_is_text(plot):
    root = ElementTree.fromstring(plot(full_result()))
    texts = {
        "".join(element.itertext()).strip() for element in root.iter() if "text" in element.tag
    }
    assert set(TASKS) <= texts
    if plot is accuracy_heat_map:
        assert {"92", "62", "88", "41", "64", "97"} <= texts
        assert {"after stage 1", "after stage 3"} <= texts
