"""The guard names what is wrong with a reply, and a bad client changes nothing."""

from __future__ import annotations

import re

import numpy as np
import pytest
from app_runs import altered, events, run_config, serve
from fake_federation import inside
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from in_process_grid import InProcessGrid

from fcit_app.errors import RunError
from server_app.guard import LARGEST_CHANGE, cleaned, judge
from strategies.replies import error_text

BAD = 3
"""A participant of the first round of the runs below."""

TASKS = ("chart", "imagenet-r")


def arrays_of(reply):
    return next(iter(reply.content.array_records.values()))


def with_first_array(change):
    def alter(reply):
        record = arrays_of(reply)
        key = next(iter(record))
        record[key] = change(record[key].numpy())

    return alter


def poke(value):
    def change(array):
        array = array.copy()
        array.flat[0] = value
        return Array(array)

    return with_first_array(change)


def metric(key, value):
    def alter(reply):
        reply.content["metrics"][key] = value

    return alter


def without_metric(key):
    return lambda reply: reply.content["metrics"].pop(key)


def no_metrics(reply):
    del reply.content["metrics"]


def missing_key(reply):
    record = arrays_of(reply)
    del record[next(iter(record))]


def extra_key(reply):
    arrays_of(reply)["base_model.model.lm_head.weight"] = Array(np.zeros(2, np.float32))


def extra_record(reply):
    reply.content["extra"] = ArrayRecord({"x": Array(np.zeros(2, np.float32))})


def announced(**facts):
    """An array that announces one thing and holds another."""

    def change(array):
        honest = Array(array)
        fields = {k: getattr(honest, k) for k in ("dtype", "shape", "stype", "data")} | facts
        return Array(**fields)

    return with_first_array(change)


def scaled(factor):
    return with_first_array(lambda a: Array((np.float32(factor) * (a + 1)).astype(np.float32)))


PROBLEMS = {
    "nan": (poke(np.nan), "holds values that are not finite"),
    "inf": (poke(-np.inf), "holds values that are not finite"),
    "missing key": (missing_key, "the reply misses 1 keys, first .*lora_A"),
    "extra key": (extra_key, "the reply adds 1 keys, first base_model.model.lm_head.weight"),
    "extra record": (extra_record, r"array records \[.*'extra'.*\] instead of \["),
    "shape": (with_first_array(lambda a: Array(a.T.copy())), r"has shape \(.*\) instead of \("),
    "dtype": (
        with_first_array(lambda a: Array(a.astype(np.float64))),
        "has dtype float64 instead of float32",
    ),
    "hidden dtype": (
        with_first_array(
            lambda a: Array("float32", a.shape, "numpy.ndarray", Array(a.astype("f8")).data)
        ),
        "announces float32 .* but holds float64",
    ),
    "garbage": (announced(data=b"\x93NUMPY garbage"), "cannot be read"),
    "empty": (announced(data=b""), "cannot be read"),
    "serialisation": (announced(stype="pickle"), "cannot be read .*pickle"),
    "no metrics": (no_metrics, "num-examples is None"),
    "no examples": (without_metric("num-examples"), "num-examples is None"),
    "zero": (metric("num-examples", 0), "num-examples is 0, not a whole number from 1 to 40"),
    "negative": (metric("num-examples", -4), "num-examples is -4"),
    "absurd": (metric("num-examples", 10**12), "num-examples is 1000000000000"),
    "fraction": (metric("num-examples", 3.5), r"num-examples is 3\.5"),
    "list": (metric("num-examples", [3]), r"num-examples is \[3\]"),
    "far": (scaled(1e30), r"the change has norm \S+e\+3\d, more than "),
    "no tasks": (without_metric("examples/imagenet-r"), "examples/imagenet-r is None, not a whole"),
    "task": (metric("examples/imagenet-r", -1), "examples/imagenet-r is -1, not a whole number"),
    "sum": (metric("examples/imagenet-r", 2), "the tasks' examples add up to 5?2?, not to "),
    "nan loss": (metric("train-loss", float("nan")), "train-loss is nan, not a finite number"),
    "no loss": (without_metric("train-loss"), "train-loss is None"),
    "nan seconds": (metric("seconds", float("nan")), "seconds is nan"),
    "negative seconds": (metric("seconds", -1.0), r"seconds is -1\.0"),
}


def pair(change=lambda reply: None):
    """A message of two arrays and its reply, altered."""
    # The grid gives Flower the identity without which no message can be made.
    InProcessGrid(altered(lambda client, message, reply: reply), 1)
    shapes = {"a.lora_A.weight": (2, 3), "a.lora_B.weight": (3, 2)}

    def record():
        return ArrayRecord({k: Array(np.ones(s, np.float32)) for k, s in shapes.items()})

    sent = Message(RecordDict({"adapter": record(), "config": ConfigRecord()}), 5, "train")
    metrics = {"num-examples": 4, "train-loss": 1.5, "seconds": 0.1, "client": 0}
    metrics |= {"examples/chart": 3, "examples/imagenet-r": 1}
    content = RecordDict({"adapter": record(), "metrics": MetricRecord(metrics)})
    reply = Message(content, reply_to=sent)
    change(reply)
    return sent, reply


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_is_named(name):
    change, reason = PROBLEMS[name]
    found = judge(*pair(change), most_examples=40, tasks=TASKS)
    assert found is not None
    assert re.search(reason, found), found


def test_an_honest_reply_passes():
    assert judge(*pair(), most_examples=40, tasks=TASKS) is None
    assert judge(*pair(metric("train-loss", 2)), most_examples=4, tasks=TASKS) is None
    assert judge(*pair(without_metric("seconds")), most_examples=4, tasks=TASKS) is None


def test_the_change_counts_and_not_the_values():
    def both(value):
        sent, reply = pair()
        for record in (sent.content["adapter"], reply.content["adapter"]):
            for key in record:
                record[key] = Array(np.full(record[key].shape, value, np.float32))
        return sent, reply

    sent, reply = both(1e6)
    assert judge(sent, reply, 40, TASKS) is None
    # 12 values in all, 6 of them changed: their root mean square is the change over sqrt(2).
    for change, good in ((LARGEST_CHANGE, True), (2 * LARGEST_CHANGE, False)):
        poked = with_first_array(lambda a, change=change: Array(a + np.float32(change)))
        assert (judge(*pair(poked), 40, TASKS) is None) == good


def test_what_was_not_judged_goes_no_further():
    _, reply = pair(metric("odd", [1, 2]))
    reply.content["more"] = MetricRecord({"num-examples": 10**9})
    clean = cleaned(reply)
    assert set(clean.content) == {"adapter", "metrics"}
    assert dict(clean.content["metrics"]) == {"num-examples": 4, "train-loss": 1.5}
    assert clean.metadata is reply.metadata
    assert set(reply.content) == {"adapter", "metrics", "more"}


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("<class 'fcit_app.errors.DataError'>:<'There is no\nstage 9.'>", "There is no\nstage 9."),
        (
            "<class 'ray.exceptions.RayTaskError(ClientAppException)'>:<'\x1b[36mray::run()\nFile x"
            "\nClientAppException: \nException ClientAppException occurred. Message: no stage'>",
            "no stage",
        ),
        ("Error: Node Unavailable", "Error: Node Unavailable"),
        (None, "error 2 without a reason"),
        ("", "error 2 without a reason"),
    ],
)
def test_an_error_reply_speaks_in_the_clients_words(reason, text):
    assert error_text(Error(code=2, reason=reason)) == text
    sent, _ = pair()
    assert judge(sent, Message(Error(2, reason), reply_to=sent), 40, TASKS) == text


def run_with(tiny_folder, out, change, method="disco", **settings):
    """A run in which one client's replies are altered."""

    def alter(client, message, reply):
        if client == BAD:
            return change(message, reply) or reply
        return reply

    config = run_config(tiny_folder, out, method=method, tasks="imagenet-r", **settings)
    return serve(config, InProcessGrid(altered(alter), 5, run_config=config))


def error_reply(message, reply):
    return Message(Error(code=2, reason="out of memory"), reply_to=message)


@pytest.fixture(scope="module", params=["disco", "finetune"])
def without_the_client(request, tiny_folder, tmp_path_factory):
    """Method, and the bank of a run in which the client delivered nothing at all."""
    out = tmp_path_factory.mktemp("without") / "run"
    folder = run_with(tiny_folder, out, error_reply, request.param)
    (rejected,) = events(folder, "client-rejected")
    assert (rejected["client"], rejected["reason"]) == (BAD, "out of memory")
    return request.param, folder.load_state()[0]


@pytest.mark.parametrize(
    "name", ["nan", "extra key", "missing key", "dtype", "absurd", "nan seconds", "far"]
)
def test_a_bad_client_is_as_if_it_had_not_been_there(
    without_the_client, tiny_folder, tmp_path, name
):
    method, expected = without_the_client
    change, reason = PROBLEMS[name]
    alter = inside(lambda _, reply: change(reply))
    folder = run_with(tiny_folder, tmp_path / "run", alter, method)
    arrays, _ = folder.load_state()
    assert {k: a.tobytes() for k, a in arrays.items()} == {
        k: a.tobytes() for k, a in expected.items()
    }
    (rejected,) = events(folder, "client-rejected")
    assert rejected["client"] == BAD
    assert re.search(reason, rejected["reason"])
    (subspace,) = folder.read_result().subspaces
    (replied,) = events(folder, "client-replied")
    assert subspace.samples == replied["examples"]
    assert replied["client"] != BAD


@pytest.mark.parametrize("method", ["disco", "finetune"])
def test_odd_metrics_of_one_client_do_not_end_the_run(tiny_folder, tmp_path, method):
    def odd(message, reply):
        reply.content["metrics"]["odd"] = 1.0
        reply.content["more"] = MetricRecord({"num-examples": 3})

    folder = run_with(tiny_folder, tmp_path / "run", odd, method)
    assert events(folder, "client-rejected") == []


@pytest.mark.parametrize("method", ["disco", "finetune"])
def test_without_a_usable_reply_the_run_fails_and_says_why(tiny_folder, tmp_path, method):
    alter = inside(lambda _, reply: poke(np.nan)(reply))
    app = altered(lambda client, message, reply: alter(message, reply))
    config = run_config(tiny_folder, tmp_path / "run", method=method)
    with pytest.raises(RunError) as caught:
        serve(config, InProcessGrid(app, 5, run_config=config))
    text = str(caught.value)
    assert "Stage 1 (imagenet-r), round 1" in text
    assert "The first reason: client" in text
    assert "not finite" in text
    assert not (tmp_path / "run" / "result.json").exists()
    assert not (tmp_path / "run" / "report.html").exists()
    assert not (tmp_path / "run" / "state").exists()
    ledger = (tmp_path / "run" / "ledger.jsonl").read_text()
    assert '"run-failed"' in ledger.splitlines()[-1]
    assert "not finite" in ledger.splitlines()[-1]


def test_without_any_identity_the_run_fails_and_says_why(tiny_folder, tmp_path):
    from client_app.app import app

    def fail(client, message):
        return "error" if message.metadata.message_type == "query.identity" else None

    with pytest.raises(RunError, match=r"The first reason: client \d: injected failure"):
        serve(
            config := run_config(tiny_folder, tmp_path / "run"),
            InProcessGrid(app, 5, fail=fail, run_config=config),
        )


def test_a_silent_client_is_left_out_after_the_timeout(tiny_folder, tmp_path):
    from client_app.app import app

    def fail(client, message):
        return "silent" if client == BAD and message.metadata.message_type == "train" else None

    config = run_config(tiny_folder, tmp_path / "run", tasks="imagenet-r", client_timeout=0.5)
    folder = serve(config, InProcessGrid(app, 5, fail=fail, run_config=config))
    (rejected,) = events(folder, "client-rejected")
    assert (rejected["client"], rejected["reason"]) == (
        BAD,
        "no reply within 0.5 s (client-timeout)",
    )
