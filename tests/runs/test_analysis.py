"""analysis.json: round trip, and what its schema refuses."""

from __future__ import annotations

import pytest

from fcit_app.errors import RunFolderError
from fcit_app.runs import RunAnalysis, RunFolder, read_analysis

SKILLS = {"short": 90.0, "sentences": 20.0, "mean": 70.0, "skills": {"name": 70.0}}


def stage(number: int, **fields) -> dict:
    weights = {"weights": [0.5, 0.5], "strongest": [0.25, 0.75]}
    row = {"task": "dvqa", **weights, "routing_accuracy": 75.0, "entropy": 0.6}
    return {
        "stage": number,
        "seen": number,
        "accuracy": [50.0, 25.0 if number == 2 else None],
        "unseen_accuracy": [1.0],
        "transfer_accuracy": 1.0,
        "transfer_gain": -1.0,
        "subspaces": [0, 4],
        "activation": [row | {"normalised_entropy": 0.9}],
        "routing_accuracy": 75.0,
        "entropy": 0.6,
        "normalised_entropy": 0.9,
        "general": SKILLS if number == 2 else None,
        "parts": None,
    } | fields


def full(**fields) -> dict:
    return {
        "tasks": ["dvqa", "iconqa"],
        "unseen": ["tabmwp"],
        "zero_shot": [0.0, 1.0, 2.0],
        "general": SKILLS,
        "forward_transfer": None,
        "stages": [stage(1), stage(2)],
    } | fields


def test_what_is_written_is_read_back(tmp_path):
    folder = RunFolder.create(tmp_path / "run", {"method": "disco"}, {})
    assert read_analysis(folder.path) is None
    for stages in ([stage(1)], [stage(1), stage(2)]):
        analysis = RunAnalysis.check(full(stages=stages))
        folder.write_analysis(analysis)
        assert read_analysis(folder.path) == analysis
        assert analysis.model_dump() == full(stages=stages)


# Runs from before captions were scored have no parts.
@pytest.mark.parametrize(
    "key", [*full(), *(f"stages.0.{key}" for key in stage(1) if key != "parts")]
)
def test_no_key_may_be_missing(key):
    content = full()
    del (content if key in content else content["stages"][0])[key.split(".")[-1]]
    with pytest.raises(RunFolderError, match=rf"{key}: Field required"):
        RunAnalysis.check(content)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"surprise": 1}, "Extra inputs"),
        ({"zero_shot": [0.0, 1.0]}, "a number for each"),
        ({"stages": [stage(1, accuracy=[50.0])]}, "column for each task"),
        ({"stages": [stage(1, unseen_accuracy=[])]}, "unseen_accuracy needs"),
        ({"stages": [stage(2, accuracy=[50.0, None])]}, "seen has no accuracy"),
        ({"stages": [stage(1, subspaces=None)]}, "subspaces' names"),
        ({"stages": [stage(1, subspaces=[0])]}, "dvqa needs 1 weights"),
        ({"stages": [stage(1, routing_accuracy=101.0)]}, "less than or equal to 100"),
        ({"stages": [stage(1, entropy=-0.1)]}, "greater than or equal to 0"),
        ({"stages": [stage(1, entropy=float("nan"))]}, "finite"),
    ],
)
def test_wrong_values_are_refused(fields, words):
    with pytest.raises(RunFolderError, match=words):
        RunAnalysis.check(full(**fields))
