"""result.json has exactly the agreed keys; what does not apply is null."""

from __future__ import annotations

import pytest

from fcit_app.config import parse
from fcit_app.errors import RunFolderError
from fcit_app.runs import RunResult, make_result, read_result

KEYS = [
    *("method", "aggregator", "setting", "scenario", "beta", "seed", "tasks", "accuracy"),
    *("last", "avg", "backward_transfer", "forgetting", "zero_shot", "subspaces"),
    *("seconds", "bytes", "metrics", "forgotten", "privacy"),
]
TASKS = ["imagenet-r", "arxivqa"]


def full() -> dict:
    return make_result(
        parse({"seed": 3, "beta": 0.5}),
        tasks=TASKS,
        accuracy=[[80.0], [70.0, 60.0]],
        last=65.0,
        avg=72.5,
        backward_transfer=-10.0,
        forgetting=10.0,
        zero_shot=[0.0, 20.0],
        subspaces=[{"id": 0, "task_counts": {"dvqa": 4}, "samples": 4, "first_stage": 1}],
        seconds={"train": 1.0, "aggregate": 0.1, "evaluate": 2.0, "total": 4.0},
        traffic={"up": 10, "down": 20},
        metrics={"imagenet-r": "exact", "arxivqa": "exact"},
    )


def test_the_keys_are_the_agreed_ones():
    result = full()
    assert list(result) == KEYS
    assert (result["method"], result["aggregator"], result["beta"]) == ("disco", "fedavg", 0.5)
    assert list(result["seconds"]) == ["train", "aggregate", "evaluate", "total"]
    assert result["bytes"] == {"up": 10, "down": 20}


def test_what_does_not_apply_is_null():
    result = make_result(parse({"method": "zero-shot"}), tasks=TASKS)
    assert list(result) == KEYS
    empty = {key for key, value in result.items() if value is None}
    assert empty == {
        *("aggregator", "scenario", "beta", "accuracy", "last", "avg"),
        *("backward_transfer", "forgetting", "zero_shot", "subspaces", "metrics", "forgotten"),
        "privacy",
    }
    assert set(result["seconds"].values()) == set(result["bytes"].values()) == {None}


@pytest.mark.parametrize("key", KEYS[:-3])
def test_no_key_may_be_missing(key):
    result = full()
    del result[key]
    with pytest.raises(RunFolderError, match=f"{key}: Field required"):
        RunResult.check(result)


def test_results_from_before_metrics_were_named_can_be_read():
    result = full()
    assert result.pop("metrics") == dict.fromkeys(TASKS, "exact")
    assert RunResult.check(result).metrics is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("last", 100.1),
        ("last", float("nan")),
        ("accuracy", [[50.0, 50.0], [50.0]]),
        ("accuracy", [[50.0], [50.0, 50.0, 50.0]]),
        ("accuracy", [[]]),
        ("zero_shot", [1.0, 2.0, 3.0]),
        ("backward_transfer", -101.0),
        ("tasks", []),
        ("subspaces", [{"id": 0}]),
        ("seconds", {"train": -1.0, "aggregate": None, "evaluate": None, "total": None}),
        ("surprise", 1),
    ],
)
def test_wrong_values_are_refused(key, value):
    with pytest.raises(RunFolderError, match="does not fit the schema"):
        RunResult.check(full() | {key: value})


def test_reading_says_what_is_missing(tmp_path):
    with pytest.raises(RunFolderError, match="has not finished"):
        read_result(tmp_path)
    (tmp_path / "result.json").write_text("[]")
    with pytest.raises(RunFolderError, match="no JSON object"):
        read_result(tmp_path)
