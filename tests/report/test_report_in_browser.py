"""The report is readable: on a phone, on a desk, in the dark, and without a network."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import find_browser, look
from toy_events import federated_run

from fcit_app.report import write_report
from fcit_app.report.charts import PALETTE, Line, line_chart, stacked_bars
from fcit_app.report.heat import colour, contrast, text_colour
from fcit_app.report.style import STYLE

PHONE, DESK = 390, 1440
LARGEST = 3_000_000


class Structure(HTMLParser):
    """Identifiers, links, pictures' texts, and tables that no scrolling box holds."""

    EMPTY = frozenset({"meta", "use", "path", "image", "rect"})

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.loose, self.pictures, self.open = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[k] for k in ("href", "src", "xlink:href", "action") if k in given]
        if tag == "svg":
            self.pictures.append((given.get("role"), given.get("aria-label")))
        if tag == "table" and "wide" not in [kind for _, kind in self.open]:
            self.loose.append(tag)
        if tag not in self.EMPTY:
            self.open.append((tag, given.get("class")))

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            self.open.pop()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A wide report: two finished runs of many clients, and half a one."""
    folder = tmp_path_factory.mktemp("report")
    runs = [
        federated_run(folder / "one", clients=30),
        federated_run(folder / "two", clients=3, seed=5),
        federated_run(folder / "half", until=2, seed=6),
    ]
    return write_report([run.path for run in runs], folder / "report.html")


def test_the_page_stands_alone(page):
    text = page.read_text()
    assert len(text.encode()) < LARGEST
    assert "<script" not in text
    assert "javascript:" not in text
    assert not re.search(r"url\((?!#)|@import", text)
    assert "default-src 'none'" in text
    structure = Structure()
    structure.feed(text)
    assert structure.links
    assert all(link.startswith("#") for link in structure.links)
    assert len(structure.ids) == len(set(structure.ids))
    assert {link[1:] for link in structure.links} <= set(structure.ids)


def test_every_picture_has_a_text_and_every_table_a_box_to_scroll_in(page):
    structure = Structure()
    structure.feed(page.read_text())
    assert len(structure.pictures) > 5
    assert all(role == "img" and text for role, text in structure.pictures)
    assert structure.loose == []
    assert not re.search(r"(?<!max-)(?<!min-)width:\s*\d{3,}px", STYLE)


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_overflows_and_the_console_is_silent(page, dark):
    """In a browser, if there is one; the tests above judge the same page's structure always."""
    browser = find_browser()
    if browser is None:
        assert "prefers-color-scheme: dark" in STYLE
        assert ".wide { overflow-x: auto" in STYLE
        return
    seen = look(browser, page, (PHONE, DESK), dark)
    assert [frame["width"] for frame in seen.frames] == [PHONE, DESK]
    for frame in seen.frames:
        assert frame["scroll"] <= frame["width"]
        assert frame["beyond"] == []
        assert frame["height"] > 3000
        assert frame["ground"] == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
    assert seen.console == []


def test_the_browser_test_sees_what_overflows(tmp_path):
    browser = find_browser()
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><body><div style="width:900px">too wide</div></body>')
    if browser is None:
        return
    frames = look(browser, page, (PHONE, DESK)).frames
    assert frames[0]["scroll"] > PHONE
    assert frames[0]["beyond"] == ["DIV too wide"]
    assert frames[1]["beyond"] == []


def test_colours_can_be_told_from_the_page_and_texts_from_their_ground():
    grounds = re.findall(r"--ground: (#\w{6})", STYLE) + re.findall(r"--panel: (#\w{6})", STYLE)
    assert len(grounds) == 4
    assert min(contrast(line, ground) for line in PALETTE for ground in grounds) >= 3
    shades = [colour(float(share)) for share in np.linspace(0, 1, 101)]
    assert min(contrast(text_colour(shade), shade) for shade in shades) >= 4.5
    assert shades[0] != shades[50] != shades[-1]
    for scheme in re.findall(r":root \{ (.*?)\}", STYLE.split("@media print")[0], re.DOTALL):
        named = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for ground in ("ground", "panel", "warn"):
            assert contrast(named["ink"], named[ground]) >= 7
            assert contrast(named["soft"], named[ground]) >= 4.5
            assert contrast(named["accent"], named[ground]) >= 4.5
        assert contrast(named["soft"], named["muted"]) >= 4.5


def test_charts_take_the_pages_colours_and_keep_their_texts():
    lines = [Line(f"task {n}", [(1.0, 2.0), (2.0, float(n))]) for n in range(11)]
    chart = line_chart("what falls", lines, "stage", "per cent", bars=[1.5])
    assert "currentColor" in chart
    assert "#010203" not in chart
    assert 'aria-label="what falls"' in chart
    assert [f"task {n}</li>" in chart for n in range(11)] == [True] * 11
    assert chart.count('class="dashed"') == 1
    assert ">per cent</text>" in chart
    bars = stacked_bars("time", ["train", "wait"], [("stage 1", (1.0, 2.0))], "seconds")
    assert ">stage 1</text>" in bars


def test_more_lines_than_can_be_told_apart_are_not_named():
    lines = [Line(f"client {n}", [(1.0, 2.0), (2.0, float(n))]) for n in range(13)]
    assert "client 3" not in line_chart("loss", lines, "round", "loss")
