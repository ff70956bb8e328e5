"""Every wait has a bound, and what follows it is a setting."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from app_runs import run_config
from fake_federation import FakeFederation, bits, fake_app
from flwr.app import Message, RecordDict
from in_process_grid import InProcessGrid

from fcit_app.config import parse
from fcit_app.errors import ConfigError, RunError
from fcit_app.preflight import preflight
from fcit_app.runs.progress import RunProgress
from server_app.exchange import exchange
from server_app.late import training_limit
from server_app.shortfall import next_step, pool

QUICK = {"client_timeout": 0.3}


def topic(client, stage):
    return 0


def silent(*clients, times=10**9):
    """Fail function: these clients do not answer training, so many times each."""
    left = dict.fromkeys(clients, times)

    def fail(client, message):
        if message.metadata.message_type != "train" or left.get(client, 0) <= 0:
            return None
        left[client] -= 1
        return "silent"

    return fail


def federation(out, fail, **settings):
    return FakeFederation(out, fake_app(topic), fail=fail, **{**QUICK, **settings})


def test_enough_replies_are_enough(tmp_path):
    played = federation(tmp_path / "run", silent(1, 2), min_clients=3)
    played.round(1)
    rejected = played.events("client-rejected")
    assert [event["client"] for event in rejected] == [1, 2]
    assert {event["reason"] for event in rejected} == {"no reply within 0.3 s (client-timeout)"}
    # Who is slow has done nothing bad.
    assert not any(event["quarantined"] for event in rejected)
    assert played.loop.totals.strikes == {}


def test_proceed_goes_on_with_what_there_is(tmp_path):
    few = federation(tmp_path / "few", silent(1, 2, 3), min_clients=4, on_shortfall="proceed")
    expected = federation(tmp_path / "expected", silent(1, 2, 3))
    assert bits(few.round(1)) == bits(expected.round(1))


@pytest.mark.parametrize("on_shortfall", ["proceed", "stop", "retry"])
def test_with_nothing_at_all_the_run_stops(tmp_path, on_shortfall):
    played = federation(
        tmp_path / "run", silent(*range(5)), on_shortfall=on_shortfall, shortfall_retries=1
    )
    start = time.monotonic()
    with pytest.raises(RunError, match=r"round 1: none of the participants \(0, 1, 2, 3, 4\) deli"):
        played.round(1)
    assert time.monotonic() - start < 5
    assert len(played.events("round-started")) == 1 + (on_shortfall == "retry")


def test_stop_says_how_to_go_on(tmp_path):
    played = federation(tmp_path / "run", silent(1, 2), min_clients=4)
    with pytest.raises(RunError) as caught:
        played.round(1)
    text = str(caught.value)
    assert "only 3 of the participants (0, 1, 2, 3, 4) delivered a usable reply" in text
    assert "min-clients is 4. The first reason: client 1: no reply within 0.3 s" in text
    assert text.endswith("resume the run, lower min-clients or set on-shortfall=retry.")


def test_retry_draws_others_and_forgets_the_attempt(tmp_path):
    """The round counts once: as if the second draw had been the first."""
    settings = {"clients_per_round": 2, "min_clients": 2, "on_shortfall": "retry"}
    first = federation(tmp_path / "look", silent(), clients_per_round=2)
    first.round(1)
    (drawn,) = (event["participants"] for event in first.events("round-started"))
    played = federation(tmp_path / "run", silent(drawn[0]), **settings)
    played.round(1)
    started = played.events("round-started")
    assert [event.get("attempt", 0) for event in started] == [0, 1]
    assert started[0]["participants"] == drawn
    assert drawn[0] not in started[1]["participants"]
    (short,) = played.events("round-short")
    assert (short["usable"], short["needed"], short["attempt"]) == (1, 2, 0)
    (finished,) = played.events("round-finished")
    trained = {c for by_task in played.loop.totals.samples.values() for c in by_task["imagenet-r"]}
    assert {client for _, client in trained} == set(started[1]["participants"])
    # Both attempts' bytes travelled.
    assert played.loop.totals.down > finished["bytes"]["down"]


def test_retry_asks_the_same_if_there_are_no_others(tmp_path):
    settings = {"min_clients": 5, "on_shortfall": "retry", "shortfall_retries": 2}
    played = federation(tmp_path / "run", silent(2, times=2), **settings)
    honest = federation(tmp_path / "honest", silent())
    assert bits(played.round(1)) == bits(honest.round(1))
    assert len(played.events("round-started")) == 3


def test_retries_end(tmp_path):
    settings = {"min_clients": 5, "on_shortfall": "retry", "shortfall_retries": 2}
    played = federation(tmp_path / "run", silent(2), **settings)
    with pytest.raises(RunError, match=r"min-clients is 5. .* client 2: no reply"):
        played.round(1)
    assert len(played.events("round-started")) == 3
    assert played.events("round-finished") == []


def test_the_round_timeout_is_training_s_alone(tmp_path):
    settings = {"client_timeout": 60.0, "round_timeout": 0.2}
    played = federation(tmp_path / "run", silent(4), **settings)
    start = time.monotonic()
    played.round(1)
    assert time.monotonic() - start < 5
    (rejected,) = played.events("client-rejected")
    assert rejected["reason"] == "no reply within 0.2 s (round-timeout)"
    assert training_limit(played.config) == ("round-timeout", 0.2)
    assert training_limit(parse({"client-timeout": 7.0})) == ("client-timeout", 7.0)


def test_who_is_late_is_told_while_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr("server_app.exchange._FIRST_WORD", 0.05)
    played = federation(tmp_path / "run", silent(1, 4), min_clients=2, client_timeout=2.0)
    played.round(1)
    told = played.events("waiting")
    # At 0.05, 0.1, 0.2, 0.4, 0.8 and 1.6 s, give or take.
    assert 2 <= len(told) <= 6
    assert all(event["clients"] == [1, 4] for event in told)
    assert told[0]["seconds"] < told[-1]["seconds"] <= 2.0
    assert all(event["then"] == "the round goes on without them" for event in told)
    line = RunProgress().consume({**told[0], "seconds": 90.0, "left": 510.0})
    assert line == (
        "stage 1 · round 1/? · no reply from clients 1, 4 for 1:30; in 8:30 the round goes on "
        "without them"
    )


@pytest.mark.parametrize(
    ("settings", "then"),
    [
        ({"min_clients": 5}, "the run stops"),
        ({"min_clients": 5, "on_shortfall": "proceed"}, "the round goes on without them"),
        ({"min_clients": 5, "on_shortfall": "retry"}, "the round is tried again with other cli"),
    ],
)
def test_what_happens_next_is_told(tmp_path, monkeypatch, settings, then):
    monkeypatch.setattr("server_app.exchange._FIRST_WORD", 0.05)
    played = federation(tmp_path / "run", silent(1, times=1), **settings)
    if settings.get("on_shortfall") is None:
        with pytest.raises(RunError):
            played.round(1)
    else:
        played.round(1)
    assert played.events("waiting")[0]["then"].startswith(then)


def test_a_late_token_is_told_too(tmp_path, monkeypatch):
    monkeypatch.setattr("server_app.exchange._FIRST_WORD", 0.05)

    def fail(client, message):
        identity = message.metadata.message_type == "query.identity"
        return "silent" if client == 2 and identity else None

    played = federation(tmp_path / "run", fail)
    played.round(1)
    assert played.events("waiting")[0]["clients"] == [2]
    (rejected,) = played.events("client-rejected")
    assert (rejected["client"], rejected["reason"]) == (2, "no reply in time")


def test_words_become_rarer(monkeypatch):
    """After 30 s, 60 s, 120 s ... and then every ten minutes; with the clock wound on by hand."""
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr("server_app.exchange.time", clock)
    grid = InProcessGrid(fake_app(topic), 1, fail=lambda client, message: "silent")
    told = []
    message = Message(RecordDict(), 1000, "train")
    assert not list(exchange(grid, [message], 4100.0, lambda missing, waited: told.append(waited)))
    assert now[0] == pytest.approx(4100.0)
    assert told == pytest.approx([30, 60, 120, 240, 480, 960, 1560, 2160, 2760, 3360, 3960], abs=60)


def test_the_next_step_is_a_table():
    def step(usable, attempt=0, **settings):
        config = {"clients-per-round": 5, "min-clients": 3, "shortfall-retries": 2} | settings
        return next_step(parse(config), usable, attempt)

    assert step(3) == step(5) == "aggregate"
    assert step(2) == step(0) == "stop"
    proceed, retry = {"on-shortfall": "proceed"}, {"on-shortfall": "retry"}
    assert (step(2, **proceed), step(0, **proceed)) == ("aggregate", "stop")
    assert [step(2, attempt, **retry) for attempt in range(4)] == ["retry", "retry", "stop", "stop"]


def test_participants_are_drawn_of_those_that_are_left():
    assert pool(range(5), {1}, (), 2) == (0, 2, 3, 4)
    assert pool(range(5), {1}, {0, 2}, 2) == (3, 4)
    # Too few fresh ones: those that failed are asked again, those benched are not.
    assert pool(range(5), {1}, {0, 2, 3}, 2) == (0, 2, 3, 4)
    assert pool(range(2), {0, 1}, (), 1) == ()


def test_with_everybody_benched_the_run_stops(tmp_path):
    played = federation(tmp_path / "run", silent())
    played.loop.totals.strikes = {(1, client): 3 for client in range(5)}
    with pytest.raises(RunError, match=r"each of the 5 clients has had 3 replies refused"):
        played.round(1)


def test_more_replies_than_participants_are_refused_at_the_start(tmp_path):
    settings = {"min_clients": 3, "model__name": "mini"}
    config = parse(run_config(tmp_path, tmp_path / "run", **settings))
    with pytest.raises(ConfigError, match=r"min-clients: 3 .* clients-per-round, which is 2"):
        preflight(config)
