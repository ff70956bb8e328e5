"""An answer to the identity query is judged before it can weigh anything."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
from app_runs import altered, events, run_config, serve
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict
from in_process_grid import InProcessGrid

from fcit_app.config import parse
from fcit_app.errors import ConfigError
from fcit_app.identity.prototypes import LARGEST_NUMBER
from server_app.guard import LARGEST_FEATURE, judge_identity
from server_app.query_replies import QueryReplies
from strategies.identities import IDENTITY_QUERY

BAD = 3
"""A participant of the first round of the runs below."""

OTHER = 1
"""Another client; both take part in the second round."""


def total(change):
    def alter(reply):
        record = reply.content["token"]
        record["total"] = change(record["total"].numpy())

    return alter


def metric(key, value):
    def alter(reply):
        reply.content["metrics"][key] = value

    return alter


def header(shape):
    """A NumPy file that announces an array of a shape and holds nothing."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


PROBLEMS = {
    "absurd": (metric("num-examples", 2**53), r"num-examples is 9007199254740992, not a whole"),
    "more": (metric("num-examples", 41), "num-examples is 41, not a whole number from 1 to 40"),
    "zero": (metric("num-examples", 0), "count must be 1 or more, not 0"),
    "other": (metric("client", OTHER), f"the node now says that it is client {OTHER}"),
    "huge": (total(lambda t: Array(t * np.float32(1e30))), "the token's mean has norm .*e.3"),
    "long": (total(lambda t: Array(t * np.float32(2e3))), "more than 1000"),
    "inf": (total(lambda t: Array(t + np.float32(np.inf))), "not finite"),
    "garbage": (total(lambda t: Array("float32", t.shape, "numpy.ndarray", b"x")), "be read"),
    "serialisation": (total(lambda t: Array("float32", t.shape, "pickle", b"x")), "be read"),
    "too large": (
        total(lambda t: Array("float32", t.shape, "numpy.ndarray", header((2**60,)))),
        "be read",
    ),
}


def parts(change_totals=lambda t: t, change_counts=lambda n: n):
    """Add two prototypes of two samples each; the changes make them wrong."""

    def alter(reply):
        record = reply.content["token"]
        totals = np.stack([record["total"].numpy() / 2] * 2)
        record["prototypes"] = Array(change_totals(totals))
        record["prototype-counts"] = Array(change_counts(np.array([2, 2])))

    return alter


def without(key):
    def alter(reply):
        parts()(reply)
        del reply.content["token"][key]

    return alter


PROTOTYPE_PROBLEMS = {
    "not asked for": (
        parts(lambda t: np.stack([*t / 2] * 2), lambda n: n[[0, 0, 1, 1]] // 2),
        "4 prototypes",
    ),
    "thousands": (
        parts(lambda t: np.repeat(t, 500, axis=0), lambda n: np.repeat(n, 500)),
        "1000 prototypes are more than 64",
    ),
    "no counts": (without("prototype-counts"), "come together"),
    "no totals": (without("prototypes"), "come together"),
    "a vector": (parts(lambda t: t[0]), "one count a cluster"),
    "none": (parts(lambda t: t[:0], lambda n: n[:0]), "one count a cluster"),
    "fewer counts": (parts(change_counts=lambda n: n[:1]), "one count a cluster"),
    "real counts": (parts(change_counts=lambda n: n + 0.5), "must hold whole numbers"),
    "negative": (parts(change_counts=lambda n: np.array([5, -1])), "count must be 1 or more"),
    "too many": (parts(change_counts=lambda n: n + 1), "add up to 6, not to 4"),
    "width": (parts(lambda t: t[:, :3]), "3 features where the others have 6"),
    "nan": (parts(lambda t: t * np.float32(np.nan)), "not finite"),
    "other samples": (parts(lambda t: t[:, ::-1]), "miss the token's"),
    "huge": (parts(lambda t: t + np.float32([[1e4], [-1e4]])), "the prototype's mean has norm"),
    "complex": (parts(lambda t: t.astype(complex)), "must hold real numbers"),
}


def identity_replies(most_prototypes=0):
    judge = partial(judge_identity, most_examples=40, most_prototypes=most_prototypes)
    return QueryReplies({5: BAD}, IDENTITY_QUERY, judge)


@pytest.mark.parametrize("name", PROTOTYPE_PROBLEMS)
def test_malformed_prototypes_are_refused(name):
    change, reason = PROTOTYPE_PROBLEMS[name]
    found = judge_identity(*answer(change), BAD, 40, 2)
    assert found is not None
    assert re.search(reason, found), found


def test_the_configuration_asks_for_no_more_than_may_be_sent():
    assert parse({"identity.prototypes": LARGEST_NUMBER}).identity.prototypes == LARGEST_NUMBER
    with pytest.raises(ConfigError, match=r"identity\.prototypes.*from 0 \(none\) to 64"):
        parse({"identity.prototypes": LARGEST_NUMBER + 1})


def test_prototypes_pass_if_they_were_asked_for_and_are_counted():
    sent, reply = answer(parts())
    assert judge_identity(sent, reply, BAD, 4, 2) is None
    assert judge_identity(sent, reply, BAD, 4) == "2 prototypes, identity.prototypes is 0"
    replies = identity_replies(2)
    replies.inspect(*answer(parts()))
    plain = identity_replies(2)
    plain.inspect(*answer())
    assert replies.up >= plain.up + 2 * 6 * 4 + 2 * 8


def answer(change=lambda reply: None, features=1.0):
    """A question and the honest answer of client 3 with 4 samples, altered."""
    InProcessGrid(altered(lambda client, message, reply: reply), 1)
    sent = Message(RecordDict(), 5, IDENTITY_QUERY)
    token = np.zeros(6, np.float32)
    token[2] = 4 * features
    metrics = MetricRecord({"num-examples": 4, "client": BAD})
    content = RecordDict({"token": ArrayRecord({"total": Array(token)}), "metrics": metrics})
    reply = Message(content, reply_to=sent)
    change(reply)
    return sent, reply


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_is_named(name):
    change, reason = PROBLEMS[name]
    found = judge_identity(*answer(change), BAD, 40)
    assert found is not None
    assert re.search(reason, found), found


def test_an_honest_answer_passes():
    assert judge_identity(*answer(), BAD, 4) is None
    assert judge_identity(*answer(features=LARGEST_FEATURE), BAD, 4) is None


def test_a_bad_answer_becomes_an_error_reply_and_is_counted():
    replies = identity_replies()
    sent, honest = answer()
    assert replies.inspect(sent, honest) is honest
    size = honest.content["token"].count_bytes()
    assert replies.up == size > 6 * 4
    bad = replies.inspect(*answer(metric("client", OTHER)))
    assert bad.error.reason == f"the node now says that it is client {OTHER}"
    assert replies.up == 2 * size
    assert replies.rejected == {BAD: bad.error.reason}
    assert replies.refused == {BAD} == replies.accepted
    error = replies.inspect(sent, Message(Error(2, "<class 'x'>:<'no data'>"), reply_to=sent))
    assert error.error.reason == "no data"


def test_other_messages_are_not_judged():
    train = Message(RecordDict(), 5, "train")
    reply = Message(RecordDict(), reply_to=train)
    assert QueryReplies({}, IDENTITY_QUERY, judge_identity).inspect(train, reply) is reply


def run_with(tiny_folder, out, change):
    """A run in which one client's identity is altered."""

    def alter(client, message, reply):
        return (change(message, reply) or reply) if client == BAD else reply

    config = run_config(tiny_folder, out, tasks="imagenet-r", rounds=2)
    app = altered(lambda client, message, reply: reply, alter)
    return serve(config, InProcessGrid(app, 5, run_config=config))


def error_reply(message, reply):
    return Message(Error(code=2, reason="out of memory"), reply_to=message)


@pytest.fixture(scope="module")
def without_the_client(tiny_folder, tmp_path_factory):
    """The bank of a run in which the client gave no token at all."""
    folder = run_with(tiny_folder, tmp_path_factory.mktemp("without") / "run", error_reply)
    rejected = events(folder, "client-rejected")
    assert {(event["client"], event["reason"]) for event in rejected} == {(BAD, "out of memory")}
    return folder.load_state()


@pytest.mark.parametrize("name", ["absurd", "other", "huge", "garbage"])
def test_a_bad_client_is_as_if_it_had_not_been_there(
    without_the_client, tiny_folder, tmp_path, name
):
    change, reason = PROBLEMS[name]
    folder = run_with(tiny_folder, tmp_path / "run", lambda _, reply: change(reply))
    arrays, meta = folder.load_state()
    expected, expected_meta = without_the_client
    assert meta["bank"] == expected_meta["bank"]
    assert {k: a.tobytes() for k, a in arrays.items()} == {
        k: a.tobytes() for k, a in expected.items()
    }
    rejected = events(folder, "client-rejected")
    assert rejected
    assert {event["client"] for event in rejected} == {BAD}
    assert all(re.search(reason, event["reason"]) for event in rejected)
    # The client whose name was used has trained with a token of its own.
    assert OTHER in {event["client"] for event in events(folder, "client-replied")}
