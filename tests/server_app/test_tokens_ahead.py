"""Identity tokens are asked for ahead of a stage, and its rounds see no difference."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from app_runs import run_config, serve
from fake_federation import FakeFederation, altering, bits, fake_app
from flwr.app import Array
from in_process_grid import InProcessGrid
from same_runs import everything

import server_app.ahead
from client_app.app import app as client_app
from fcit_app.data.lesson import read_lessons
from fcit_app.data.stages import make_stages
from fcit_app.errors import RunError
from server_app.ahead import LONGEST, TokensAhead
from server_app.exchange import GRACE
from server_app.learning import Learning
from strategies.identities import IDENTITY_QUERY, identity_question

QUICK = {"rounds": 2, "clients_per_round": 2, "client_timeout": 0.3}
TIMES = ("time", "seconds", "left", "out")


ALL = {"clients_per_round": 5, "stages": 1}


def node(reply):
    return reply.metadata.src_node_id


class OrderedGrid(InProcessGrid):
    """A grid that gives replies in the order of nodes, whatever the ids of their messages."""

    def pull_messages(self, message_ids):
        return sorted(super().pull_messages(message_ids), key=node)


def topic(client, stage):
    return (client + stage) % 3


def play(out, ahead=True, app=None, stages=2, evaluate=lambda: None, grid=OrderedGrid, **settings):
    """Play some stages, each asked ahead or not, and after an evaluation its rounds."""
    settings = {**QUICK, **settings}
    played = FakeFederation(out, app or fake_app(topic), grid=grid, **settings)
    for stage in range(1, stages + 1):
        if ahead:
            ask(played, stage)
        evaluate()
        for number in range(1, played.config.rounds + 1):
            played.round(number, stage)
    return played


def ask(played, stage=1):
    with played.loop.asking_ahead(replace(make_stages(played.config)[0], number=stage)):
        pass


def both(out, **settings):
    """The same federation asked ahead and not: they leave the same, and the first is given."""
    ahead, asks = (play(out / str(early), early, **settings) for early in (True, False))
    same(ahead, asks)
    return ahead


def told(played):
    """All that the ledger says, but for times."""
    return [{k: v for k, v in e.items() if k not in TIMES} for e in played.folder.ledger.read()]


def asked(played):
    """Stage and client of each identity question, in their order."""
    return [
        (m.content["config"]["stage"], played.grid.partition(m.metadata.dst_node_id))
        for m in played.grid.sent_of(IDENTITY_QUERY)
    ]


def same(played, other):
    assert bits(played.arrays) == bits(other.arrays)
    assert told(played) == told(other)
    assert played.loop.totals.strikes == other.loop.totals.strikes
    for what in ("up", "down", "samples"):
        assert getattr(played.loop.totals, what) == getattr(other.loop.totals, what)


def on_identity(*clients, how="silent", times=10**9):
    """Fail function: so many of these clients' identity questions fail, each client's first."""
    left = dict.fromkeys(clients, times)

    def fail(client, message):
        if message.metadata.message_type != IDENTITY_QUERY or left.get(client, 0) <= 0:
            return None
        left[client] -= 1
        return how

    return fail


class SlowGrid(OrderedGrid):
    """A grid whose nodes take 0.4 s for a token, which is more than client-timeout."""

    def push_messages(self, messages):
        messages = list(messages)
        ids = super().push_messages(messages)
        self._due = getattr(self, "_due", {})
        for key, message in zip(ids, messages, strict=True):
            slow = message.metadata.message_type == IDENTITY_QUERY
            self._due[key] = time.monotonic() + (0.4 if slow else 0.0)
        return ids

    def pull_messages(self, message_ids):
        return super().pull_messages([k for k in message_ids if self._due[k] <= time.monotonic()])


class RefusingGrid(OrderedGrid):
    """A grid that cannot send the first message."""

    refused = False

    def push_messages(self, messages):
        ids = super().push_messages(messages)
        if not self.refused:
            self.refused = True
            ids[0] = None
        return ids


def test_rounds_see_no_difference(tmp_path):
    played = both(tmp_path)
    assert len(played.events("round-finished")) == 4


def test_each_client_is_asked_once_a_stage_before_its_rounds(tmp_path):
    played = play(tmp_path / "run")
    drawn = {(e["stage"], c) for e in played.events("round-started") for c in e["participants"]}
    found = asked(played)
    assert len(found) == len(set(found))
    assert set(found) == drawn
    for stage in (1, 2):
        mine = [m for m in played.grid.sent if m.content["config"]["stage"] == stage]
        kinds = [m.metadata.message_type for m in mine]
        assert kinds == sorted(kinds)  # query.identity, then train


def test_who_never_answers_is_waited_for_and_left_out(tmp_path):
    played = both(tmp_path, fail=on_identity(2), rounds=1, **ALL)
    (rejected,) = played.events("client-rejected")
    assert (rejected["client"], rejected["reason"]) == (2, "no reply in time")
    (finished,) = played.events("round-finished")
    assert finished["seconds"]["configure"] >= 0.3
    assert asked(played) == [(1, client) for client in range(5)]


def test_the_time_limit_begins_when_somebody_waits(tmp_path):
    settings = {"grid": SlowGrid, "rounds": 1, "evaluate": partial(time.sleep, 0.25), **ALL}
    played = play(tmp_path / "ahead", **settings)
    assert played.events("client-rejected") == []
    assert 0.05 < played.events("round-finished")[0]["seconds"]["configure"] < 0.3
    with pytest.raises(RunError, match="no reply in time"):
        play(tmp_path / "asks", ahead=False, **settings)


def test_who_is_late_is_told_while_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr("server_app.exchange._FIRST_WORD", 0.05)
    played = play(tmp_path / "run", fail=on_identity(1, 4), rounds=1, **ALL)
    told = played.events("waiting")
    assert told and all(event["clients"] == [1, 4] for event in told)


@pytest.mark.parametrize("lie", [("client", 4), ("stage", 9), ("num-examples", 10**6), None])
def test_a_bad_answer_is_quarantined_and_counted(tmp_path, lie):
    def spoil(message, reply):
        if lie:
            reply.content["metrics"][lie[0]] = lie[1]
        else:
            total = reply.content["token"]["total"].numpy()
            reply.content["token"]["total"] = Array(total * np.float32(np.nan))

    app = altering(fake_app(topic), 1, lambda message, reply: None, spoil)
    played = both(tmp_path, app=app, guard__strikes=1, **ALL)
    (rejected,) = played.events("client-rejected")
    assert (rejected["client"], rejected["quarantined"]) == (1, True)
    assert [event["client"] for event in played.events("client-benched")] == [1]


@pytest.mark.parametrize("how", ["error", "superlink"])
def test_an_error_ahead_is_no_answer(tmp_path, how):
    """The node may be back, and the evaluation's memory free: the round asks again."""
    played = play(tmp_path / "ahead", fail=on_identity(3, how=how, times=1), **ALL)
    same(played, play(tmp_path / "asks", ahead=False, **ALL))
    assert asked(played)[5:] == [(1, 3)]


@pytest.mark.parametrize("how", ["error", "superlink"])
def test_an_error_again_leaves_the_client_out(tmp_path, how):
    played = both(tmp_path, fail=on_identity(3, how=how), **ALL)
    assert {event["client"] for event in played.events("client-rejected")} == {3}


def test_a_retry_draws_others_and_asks_them(tmp_path):
    settings = {"min_clients": 2, "on_shortfall": "retry", "rounds": 1, "stages": 1}
    (started,) = play(tmp_path / "plain", **settings).events("round-started")
    away = started["participants"][0]

    def fail(client, message):
        return "silent" if (client, message.metadata.message_type) == (away, "train") else None

    played = both(tmp_path, fail=fail, **settings)
    others = played.events("round-started")[1]["participants"]
    assert away not in others
    assert asked(played) == [(1, c) for c in started["participants"]] + [
        (1, c) for c in others if c not in started["participants"]
    ]


def test_a_message_that_could_not_be_sent_ahead_is_sent_by_the_round(tmp_path):
    played = play(tmp_path / "ahead", grid=RefusingGrid, **ALL)
    same(played, play(tmp_path / "asks", ahead=False, **ALL))
    assert asked(played)[5:] == [(1, 0)]


def test_an_answer_that_has_lain_too_long_is_asked_for_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(server_app.ahead, "LONGEST", 0.0)
    played = both(tmp_path, stages=1)
    found = asked(played)
    assert sorted(found) == sorted(2 * list(set(found)))


def test_a_question_lives_until_it_is_wanted_and_waited_for(tmp_path):
    played = FakeFederation(tmp_path / "run", fake_app(topic), **QUICK)
    ask(played)
    assert {message.metadata.ttl for message in played.grid.sent} == {LONGEST + 0.3 + GRACE}


@pytest.mark.parametrize(
    "settings",
    [{"method": "finetune"}, {"identity__clip": 1.0, "identity__noise": 1.0}],
    ids=["without tokens", "where each costs privacy"],
)
def test_nothing_is_asked_ahead(tmp_path, settings):
    played = FakeFederation(tmp_path / "run", fake_app(topic), **QUICK, **settings)
    ask(played)
    assert played.grid.sent == []


def test_after_the_last_stage_nothing_is_asked(tmp_path):
    played = FakeFederation(tmp_path / "run", fake_app(topic), **QUICK)
    with played.loop.asking_ahead(None):
        pass
    assert played.grid.sent == []


@pytest.fixture
def one_stage(tmp_path):
    """A federation whose first stage's clients have been asked ahead, and its ``claim``."""
    played = FakeFederation(tmp_path / "run", fake_app(topic), clients_per_round=5, rounds=1)
    tokens = TokensAhead(played.grid, played.strategy, played.config)
    nodes = {played.grid.partition(node): node for node in played.grid.get_node_ids()}
    (stage,) = make_stages(played.config)
    tokens.ask(stage, nodes)
    clients = {node: client for client, node in nodes.items()} | {77: 2}
    return played, lambda *question: tokens.claim(identity_question(*question), clients)


def test_only_the_same_question_to_the_same_node_is_under_way(one_stage):
    played, claim = one_stage
    others = {"participants": [0, 2], "lessons": ["figureqa", ""]}
    assert claim(1002, 2, "1", 9.0) is None
    assert claim(77, 1, "1", 9.0) is None
    assert claim(1000, 1, "1", 9.0, others) is None
    # Of a round's lessons the client's own alone is what it is asked.
    assert claim(1002, 1, "8", 9.0, others) is played.grid.sent[2]
    assert claim(1002, 1, "1", 9.0) is None
    assert claim(1000, 1, "1", 9.0) is played.grid.sent[0]


SLOTS = """
[[stages]]
slots = ["arxivqa", "figureqa", "arxivqa"]
[[stages]]
slots = ["clevr-math", "arxivqa", "figureqa"]
"""


def with_lessons(tiny_folder, out, **settings):
    """Configuration and grid of a run of the real apps with lessons."""
    out.mkdir()
    (out / "slots.toml").write_text(SLOTS)
    settings |= {"scenario": str(out / "slots.toml"), "tasks": "", "clients_per_round": 3}
    settings |= {"train__steps": 1, "data__test_samples": 2}
    config = run_config(tiny_folder, out / "run", **settings)
    return config, InProcessGrid(client_app, 5, run_config=config)


def test_a_whole_run_with_lessons_is_the_same_to_the_bit(tiny_folder, tmp_path, monkeypatch):
    config, grid = with_lessons(tiny_folder, tmp_path / "ahead", rounds=2)
    ahead = serve(config, grid)
    monkeypatch.setattr(TokensAhead, "ask", lambda self, stage, nodes: None)
    config, other = with_lessons(tiny_folder, tmp_path / "asks", rounds=2)
    assert everything(ahead) == everything(serve(config, other))
    # The same questions, and no lesson twice.
    found, expected = (
        sorted(own_question(each, message) for message in each.sent_of(IDENTITY_QUERY))
        for each in (grid, other)
    )
    assert found == expected
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("where", ["server", "clients"])
def test_who_evaluates_is_asked_after_it(tiny_folder, tmp_path, monkeypatch, where):
    config, grid = with_lessons(tiny_folder, tmp_path / "run", rounds=1, evaluate__where=where)
    evaluate, begun = Learning.evaluate, []

    def noticing(*arguments, **named):
        begun.append(len(grid.sent))
        return evaluate(*arguments, **named)

    monkeypatch.setattr(Learning, "evaluate", noticing)
    serve(config, grid)
    kinds = [message.metadata.message_type for message in grid.sent]
    before, meanwhile = kinds[: begun[0]], kinds[begun[0] : begun[1]]
    if where == "server":
        assert before[-1] == IDENTITY_QUERY
        assert set(meanwhile) == {"train"}
    else:
        assert before[-1] == "train"
        assert meanwhile == sorted(meanwhile, key=["evaluate", IDENTITY_QUERY, "train"].index)
        assert set(meanwhile) == {"evaluate", IDENTITY_QUERY, "train"}


def own_question(grid, message):
    """Stage, client and lesson of an identity question."""
    settings = message.content["config"]
    client = grid.partition(message.metadata.dst_node_id)
    return settings["stage"], client, read_lessons(settings)[client]
