"""Scenarios: the official tables, files, and every mistake in a file at once."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from fcit_app.config import parse
from fcit_app.data.catalogue import CAPABILITIES, TASK_STAGES, stages, tasks_of
from fcit_app.data.lesson import own_lesson, parse_lesson, read_lessons, write_lessons
from fcit_app.data.load import load_benchmark
from fcit_app.data.scenario import Timetable, het, hom, misfits
from fcit_app.data.scenario_file import load_scenario, read_scenario
from fcit_app.data.stages import client_samples, lesson_samples, make_stages, tasks_seen
from fcit_app.errors import ConfigError, DataError

EXAMPLE = Path(__file__).parents[2] / "docs" / "scenarios" / "example.toml"

# `cap_dyn_list` and `seq_dyn_list` of the official code.
SLOTS = {
    "capability": "[0,1,1,3,3] [0,2,2,2,3] [1,2,2,3,3] [0,0,0,1,1]",
    "task": "[1,2,4,5,6] [3,4,5,7,7] [0,2,3,4,5] [0,0,1,3,7] [1,2,4,4,5] [0,3,5,7,7] [2,2,5,7,7] "
    "[5,5,5,6,6]",
}


@pytest.mark.parametrize("setting", SLOTS)
def test_het_is_the_official_table(setting):
    rows = [json.loads(row) for row in SLOTS[setting].split()]
    names = TASK_STAGES if setting == "task" else CAPABILITIES
    found = [[lesson for (lesson,) in stage.slots] for stage in het(setting).stages]
    assert found == [[names[number] for number in row] for row in rows]
    assert het(setting).slots == 5
    assert len(rows) == len(stages(setting))


def test_what_is_seen_in_het_is_what_the_official_evaluation_asks():
    made = make_stages(parse({"preset": "mini-het"}))
    first = {"arxivqa", "iconqa", "ocr-vqa", "flickr30k", "figureqa"}
    assert set(tasks_seen(made, 1)) == first
    assert set(tasks_seen(made, 2)) == first | {"clevr-math", "super-clevr"}
    assert [len(tasks_seen(made, n)) for n in range(3, 9)] == [8] * 6


def test_hom_is_one_stage_a_name():
    order = ("figureqa", "dvqa")
    assert [stage.whole for stage in hom(order).stages] == [("figureqa",), ("dvqa",)]
    assert load_scenario("hom", "capability") == hom(CAPABILITIES)
    assert hom(order).slots == 0
    assert hom(order).stages[0].lesson(3, 17) == ("figureqa",)


def test_new_and_returning_tasks():
    scenario = het("task")
    assert scenario.new_tasks(2) == ("clevr-math", "super-clevr")
    assert scenario.returning_tasks(2) == ("ocr-vqa", "flickr30k")
    assert scenario.new_tasks(8) == ()
    assert het("capability").new_tasks(2) == tasks_of("math")


def test_the_example():
    scenario = read_scenario(EXAMPLE, "task")
    autumn, winter, spring = scenario.stages
    assert (autumn.name, winter.name, spring.name) == ("autumn", "winter", "spring")
    assert autumn.lesson(0, 1) == ("clevr-math",)
    assert autumn.lesson(0, 2) == ("ocr-vqa", "flickr30k")
    assert autumn.lesson(0, 99) == ("imagenet-r",)
    assert scenario.new_tasks(2) == ("super-clevr", "dvqa")
    assert spring.whole == scenario.returning_tasks(3) == ("imagenet-r",)
    assert misfits(scenario, 2, 5) == []


def test_json_means_the_same_as_toml(tmp_path):
    file = tmp_path / EXAMPLE.with_suffix(".json").name
    file.write_text(json.dumps(tomllib.loads(EXAMPLE.read_text())))
    assert read_scenario(file, "task").stages == read_scenario(EXAMPLE, "task").stages


def mistakes(tmp_path, text, setting="task", name="s.toml"):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_scenario(file, setting)
    assert all(problem.startswith("scenario: ") for problem in caught.value.problems)
    return caught.value.problems


BAD = """
titel = 3
[[stages]]
slots = ["figureq", "chart", [], ["dvqa", "dvqa"], 3]
everyone = "dvqa"
[[stages]]
slot = ["dvqa"]
name = 3
[[stages]]
slots = "dvqa"
[[stages]]
slots = ["dvqa"]
[[stages]]
clients = {"1-3" = "dvqa", "2" = "dvqa", "x" = "dvqa", "4-3" = "iconqa"}
"""


def test_every_mistake_is_told_at_once(tmp_path):
    found = mistakes(tmp_path, BAD)
    expected = [
        "s.toml: there is no key 'titel'; keys are stages.",
        "s.toml, stage 1: it has everyone and slots. Give one of everyone, slots or clients.",
        "stage 1, slot 0: 'figureq' is not allowed; allowed: imagenet-r, arxivqa",
        "stage 1, slot 1: 'chart' is not allowed",
        "stage 1, slot 2: [] is not allowed; allowed: a task, or a list of them.",
        "stage 1, slot 3: dvqa given more than once.",
        "stage 1, slot 4: 3 is not allowed",
        "stage 2: there is no key 'slot'; keys are name, everyone, slots, clients. Did you mean",
        "stage 2: name = 3 is not allowed",
        "stage 2: it has no lessons.",
        "stage 3: slots = 'dvqa' is not allowed; allowed: a list of lessons.",
        "stage 5: client 2 is named twice.",
        "stage 5: clients 'x' is not allowed",
        "stage 5: clients '4-3' is not allowed",
        "s.toml: stages have 1 and 5 slots.",
        "s.toml: some stages go by slots, others by clients.",
    ]
    assert len(found) == len(expected)
    for text in expected:
        assert any(text in problem for problem in found), text
    assert "Did you mean 'figureqa'?" in found[2]
    assert found[3].endswith("With setting=capability it would be.")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("s.toml", "stages = 3", "there is no list of stages"),
        ("s.toml", "stages = []", "the list of stages is empty"),
        ("s.toml", "stages = [3]", "stage 1: 3 is no table"),
        ("s.toml", "[[stages", "is no TOML"),
        ("s.json", "{", "is no JSON"),
        ("s.json", '{"stages": [], "stages": []}', "the key 'stages' is given twice"),
        ("s.json", "[]", "there is no list of stages"),
        ("s.toml", "[[stages]]\nclients = {}", "clients = {} is not allowed"),
        ("s.yaml", "", "allowed: hom, het, FILE.toml, FILE.json"),
    ],
)
def test_other_mistakes(tmp_path, name, text, said):
    assert said in mistakes(tmp_path, text, name=name)[0]


def test_a_capability_file_names_capabilities(tmp_path):
    text = '[[stages]]\nslots = ["math", ["chart", "other"]]'
    file = tmp_path / "s.toml"
    file.write_text(text)
    assert read_scenario(file, "capability").stages[0].whole == ("math", "chart", "other")
    found = mistakes(tmp_path, text)
    assert len(found) == 3


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read"):
        load_scenario(str(tmp_path / "nowhere.toml"), "task")


def test_where_a_scenario_does_not_fit(tmp_path):
    (only,) = misfits(het("task"), 2, None)
    assert only.startswith("clients-per-round: 2 is not allowed; allowed with scenario het: 5")
    assert "preset mini-het" in only
    assert misfits(het("task"), 5, 5) == misfits(hom(("dvqa",)), 2, 5) == []
    file = tmp_path / "s.toml"
    file.write_text('[[stages]]\nclients = {"1-3" = "dvqa", "9" = "iconqa"}')
    beyond, idle = misfits(read_scenario(file, "task"), 3, 5)
    assert "stage 1: there is no client 9; the 5 clients count from 0 to 4" in beyond
    assert "nobody says what client 0, 4 of 5 learns" in idle


def test_a_lesson_holds_the_shards_that_hom_stages_of_its_tasks_would():
    config = parse({"preset": "mini-smoke"})
    benchmark, (first, second) = load_benchmark(config), make_stages(config)
    apart = [client_samples(benchmark, config, stage, 2, 5) for stage in (first, second)]
    together = lesson_samples(
        benchmark, config, first.timetable.whole + second.timetable.whole, 2, 5
    )
    assert together == apart[0] + apart[1]


def test_lessons_travel_as_two_lists():
    told = write_lessons({4: ("dvqa", "iconqa"), 1: ("figureqa",)})
    assert told == {"participants": [4, 1], "lessons": ["dvqa+iconqa", "figureqa"]}
    assert read_lessons(told) == {4: "dvqa+iconqa", 1: "figureqa"}
    assert own_lesson(told, 4) == ("dvqa", "iconqa")
    assert own_lesson({"stage": 1}, 4) == ()
    with pytest.raises(DataError, match=r"of the clients \[1, 4\], but not of client 2"):
        own_lesson(told, 2)
    with pytest.raises(DataError, match="no task 'figureq'"):
        parse_lesson("dvqa+figureq")


@pytest.mark.parametrize(
    ("participants", "lessons"),
    [([1], []), ([1, 1], ["dvqa", "dvqa"]), ("1", "d"), (["1"], ["dvqa"]), ([1], [2]), (1, 2)],
)
def test_lists_that_do_not_fit_are_refused(participants, lessons):
    with pytest.raises(DataError, match="two lists of one length"):
        read_lessons({"participants": participants, "lessons": lessons})


def test_a_stage_is_named_by_what_fits():
    def name(*names, label=""):
        return Timetable(tuple((one,) for one in names), label=label).name

    assert name("dvqa") == "dvqa"
    assert name("dvqa", "iconqa", "dvqa") == "dvqa + iconqa"
    assert name("dvqa", "iconqa", "figureqa") == "dvqa + 2 more"
    assert name("dvqa", "iconqa", label="autumn") == "autumn"
