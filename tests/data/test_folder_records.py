"""FCIT's records in one form; each defect by its name."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_folder import training_raw

from fcit_app.data.catalogue import TASK_NAMES
from fcit_app.data.folder.boxes import box_problem, has_box
from fcit_app.data.folder.datasets import DATASETS, dataset, task_of
from fcit_app.data.folder.defects import BadRecordError
from fcit_app.data.folder.lengths import estimated_tokens
from fcit_app.data.folder.records import Turn, parse_test, parse_training


def bare(*texts):
    """A talk without a placeholder."""
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]


def test_a_training_record():
    record = parse_training(training_raw("a/b.png", " What?\nSay. ", " red "))
    assert record.image == "a/b.png"
    assert record.turns == (Turn("What?\nSay.", "red"),)
    assert record.identifier is None
    assert parse_training(training_raw("a.png", "q", "a", id=7)).identifier == "7"
    assert parse_training(training_raw("a.png", "q", "a", question_id="x")).identifier == "x"


def test_the_placeholder_may_stand_behind_the_question():
    raw = training_raw("a.png", "q", "a")
    for text in ("q\n<image>", "<image>q", "<image>\nq", "q"):
        raw["conversations"][0]["value"] = text
        assert parse_training(raw).turns[0].question == "q"


def test_grounding_has_several_turns_and_boxes_as_text():
    record = parse_training(
        training_raw("a.png", "box of the dog", "[0.1, 0.2, 0.3, 0.4]", "and?", "x")
    )
    assert [turn.question for turn in record.turns] == ["box of the dog", "and?"]
    raw = {"question_id": 1, "image": "a.png", "text": "box?", "answer_bbox": "[0, 0.2, 0.3, 1]"}
    assert parse_test(raw).turns == (Turn("box?", "[0, 0.2, 0.3, 1]"),)
    raw["answer_bbox"] = [0.1, 0.2, 0.3, 0.4]
    assert parse_test(raw).turns[0].answer == "[0.1, 0.2, 0.3, 0.4]"
    assert has_box(parse_test(raw).turns[0].answer)


def test_a_test_record():
    raw = {"question_id": "7", "image": "./a.png", "text": "How many?", "answer": 3}
    record = parse_test(raw)
    assert (record.image, record.identifier) == ("a.png", "7")
    assert record.turns == (Turn("How many?", "3"),)
    assert parse_test(raw, ("a reference",)).turns[0].answer == "a reference"


GOOD = training_raw("a.png", "q", "a")
TALK = GOOD["conversations"]


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("text", "no-object"),
        (None, "no-object"),
        ({**GOOD, "image": None}, "no-image"),
        ({**GOOD, "image": ["a.png", "b.png"]}, "no-image"),
        ({"conversations": TALK}, "no-image"),
        ({**GOOD, "image": "../a.png"}, "outside-root"),
        ({**GOOD, "image": "a/../../b.png"}, "outside-root"),
        ({**GOOD, "image": "/etc/passwd"}, "outside-root"),
        ({**GOOD, "image": "C:\\a.png"}, "outside-root"),
        ({**GOOD, "image": "."}, "outside-root"),
        ({"image": "a.png"}, "no-question"),
        ({**GOOD, "conversations": []}, "no-question"),
        ({**GOOD, "conversations": TALK[1:]}, "no-question"),
        (training_raw("a.png", " ", "a"), "no-question"),
        ({**GOOD, "conversations": TALK[:1]}, "no-answer"),
        (training_raw("a.png", "q", " "), "no-answer"),
        (training_raw("a.png", "q", None), "no-answer"),
        ({**GOOD, "conversations": [TALK[0], TALK[0]]}, "no-answer"),
        ({**GOOD, "conversations": [*TALK, TALK[0]]}, "no-answer"),
        ({**GOOD, "conversations": [TALK[0], "hello"]}, "no-answer"),
        (training_raw("a.png", "look at <image> and say", "a"), "placeholder-in-text"),
        (training_raw("a.png", "q", "an <image>"), "placeholder-in-text"),
        (training_raw("a.png", "q", "a", "<image> q", "a"), "placeholder-in-text"),
        (training_raw("a.png", "q", "word " * 2000), "answer-too-long"),
        (training_raw("a.png", "q\ud800", "a"), "not-unicode"),
        (training_raw("\udfff.png", "q", "a"), "not-unicode"),
    ],
)
def test_bad_training_records(raw, kind):
    with pytest.raises(BadRecordError) as caught:
        parse_training(raw)
    assert caught.value.kind == kind
    assert len(str(caught.value)) < 300


def test_a_record_of_text_alone():
    talk = bare("q", "a")
    for raw in ({"conversations": talk}, {"image": None, "conversations": talk}):
        record = parse_training(raw, text_alone=True)
        assert (record.image, record.subject) == (None, "q")
        assert record.turns == (Turn("q", "a"),)
    assert parse_training(GOOD, text_alone=True).subject == "a.png"
    # the whole context is there for the answer
    longer = {"conversations": bare("q", "word " * 1500)}
    assert parse_training(longer, text_alone=True)


@pytest.mark.parametrize(
    ("raw", "kind", "told"),
    [
        ({"conversations": TALK}, "placeholder-in-text", "names no picture. Name the picture as"),
        ({"conversations": bare("q", "<image>")}, "placeholder-in-text", "take <image> out"),
        ({**GOOD, "image": ""}, "no-image", "leave it out where there is none"),
        ({**GOOD, "image": ["a.png"]}, "no-image", "must be the path of one picture"),
        ({**GOOD, "image": "../a.png"}, "outside-root", "must stay below"),
        ({"conversations": bare("q", "word " * 3000)}, "answer-too-long", "leaves 2048. Shorten"),
    ],
)
def test_bad_records_of_a_private_task(raw, kind, told):
    with pytest.raises(BadRecordError) as caught:
        parse_training(raw, text_alone=True)
    assert caught.value.kind == kind
    assert told in caught.value.what


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"text": None}, "no-question"),
        ({"text": "<image>\nq"}, "placeholder-in-text"),
        ({"answer": True}, "no-answer"),
        ({"answer": ""}, "no-answer"),
        ({"answer": None}, "no-answer"),
        ({"answer": []}, "no-answer"),
    ],
)
def test_bad_test_records(fields, kind):
    raw = {"question_id": 1, "image": "a.png", "text": "q", "answer": "a", **fields}
    with pytest.raises(BadRecordError) as caught:
        parse_test(raw)
    assert caught.value.kind == kind


def test_boxes():
    assert box_problem("[0.1, 0.2, 0.5, 1.0]") is None
    assert box_problem("nothing") is None
    for text in ("[0.5, 0.2, 0.1, 0.8]", "[0.1, 0.2, 5, 0.8]", "[-0.1, 0.2, 0.5, 0.8]"):
        assert text in (box_problem(text) or "")


def test_estimate():
    assert estimated_tokens("") == 0
    assert estimated_tokens("What is it?") == 4
    assert estimated_tokens("2024, acetylsalicylic") == 4 + 1 + 2


def test_the_catalogue_has_every_task_once_and_invents_nothing():
    assert sorted(entry.name for entry in DATASETS) == sorted(TASK_NAMES)
    numbers = {entry.name: entry.task_number for entry in DATASETS}
    assert numbers["imagenet-r"] == 1
    assert numbers["super-clevr"] == 8
    assert numbers["dvqa"] is None
    assert dataset("ocr-vqa").suffixes is None
    assert dataset("ocr-vqa").licence is None
    for entry in DATASETS:
        assert entry.pictures_from.startswith("http")
        for path in (entry.train_path, entry.test_path, *entry.picture_folders):
            assert not path.startswith("/")


def test_the_image_path_tells_the_task():
    for entry in DATASETS:
        texts = ["[0.1, 0.2, 0.3, 0.4]"] if entry.name == "grounding" else ["q", "a"]
        for folder in entry.picture_folders:
            assert task_of(f"{folder}/1.png", texts) == entry.name
    assert task_of("elsewhere/1.png", []) is None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
TURN = st.fixed_dictionaries(
    {}, optional={"from": st.sampled_from(["human", "gpt"]) | ANYTHING, "value": ANYTHING}
)


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "image": st.just("a.png") | ANYTHING,
            "conversations": st.lists(TURN | ANYTHING, max_size=3) | ANYTHING,
            "text": ANYTHING,
            "answer": ANYTHING,
            "id": ANYTHING,
        },
    )
    | ANYTHING
)
def test_whatever_json_holds_is_a_record_or_a_named_defect(raw):
    for parse in (parse_training, partial(parse_training, text_alone=True), parse_test):
        try:
            record = parse(raw)
        except BadRecordError as error:
            assert 10 < len(error.what) < 300
        else:
            assert record.turns
            "".join([record.image or "", *record.texts]).encode()
