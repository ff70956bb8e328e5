"""Runs whose clients give their tokens only in a crowd, and with noise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from app_runs import events, run_config, serve
from flwr.app import ConfigRecord, Message, RecordDict
from in_process_grid import InProcessGrid

from client_app.app import app as client_app
from fcit_app.config import parse
from fcit_app.data.load import load_benchmark
from fcit_app.data.stages import client_samples, make_stages
from fcit_app.errors import RunError
from fcit_app.identity.accountant import epsilon_of
from fcit_app.identity.privacy import deviation
from fcit_app.identity.tokens import IdentityToken
from fcit_app.runs import RunFolder, read_result
from server_app.guard import judge_identity
from server_app.private_releases import privacy_facts, tokens_of_a_sample, updates_given
from strategies.identities import IDENTITY_QUERY, read_identity

CLIENTS = 5
NOISE = {"identity__clip": 1.0, "identity__noise": 0.5}


def sizes(config, stage):
    """Client to how many samples it holds in a stage."""
    settings = parse(config)
    chosen, benchmark = make_stages(settings)[stage - 1], load_benchmark(settings)
    return {
        client: len(client_samples(benchmark, settings, chosen, client, CLIENTS))
        for client in range(CLIENTS)
    }


@pytest.fixture(scope="module")
def in_a_crowd(tiny_folder, tmp_path_factory):
    """A run in which the two smallest clients may give no token; what each holds, and the floor."""
    config = run_config(
        tiny_folder,
        tmp_path_factory.mktemp("crowd") / "run",
        tasks="imagenet-r",
        rounds=2,
        clients_per_round=CLIENTS,
        identity__clip=1.0,
    )
    held = sizes(config, 1)
    least = sorted(held.values())[2]
    return serve({**config, "identity.min-samples": least}), held, least


def test_clients_with_few_samples_give_no_token_and_are_named(in_a_crowd):
    folder, held, least = in_a_crowd
    few = {client for client, size in held.items() if size < least}
    assert len(few) == 2
    refused = events(folder, "client-rejected")
    assert {(e["round"], e["client"]) for e in refused} == {(n, c) for n in (1, 2) for c in few}
    for event in refused:
        assert f"identity.min-samples = {least}" in event["reason"]
        assert not event["quarantined"]
    assert {e["client"] for e in events(folder, "client-replied")} == set(held) - few


def test_without_noise_nothing_is_stated(in_a_crowd):
    folder, _, _ = in_a_crowd
    assert read_result(folder.path).privacy is None
    assert not {"tokens-given", "privacy-spent"} & {e["event"] for e in folder.ledger.read()}
    assert json.loads((folder.path / "result.json").read_text())["privacy"] is None


def test_a_run_with_nobody_in_a_crowd_says_why(tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", identity__min_samples=1000)
    with pytest.raises(RunError, match=r"identity\.min-samples = 1000"):
        serve(config)


@pytest.fixture(scope="module")
def noised(tiny_folder, tmp_path_factory):
    """A run with noise, of two stages with two rounds each."""
    out = tmp_path_factory.mktemp("noised") / "run"
    return serve(run_config(tiny_folder, out, rounds=2, clients_per_round=2, **NOISE))


def test_result_and_ledger_state_what_the_noise_was_worth(noised):
    facts = read_result(noised.path).privacy
    assert facts is not None
    assert facts.updates is None
    given = {client for event in events(noised, "tokens-given") for client in given_by(event)}
    assert facts.tokens.epsilons == {str(c): epsilon_of(1e-5, 0.5) for c in sorted(given)}
    assert set(facts.tokens.releases.values()) == {1}
    (spent,) = events(noised, "privacy-spent")
    assert spent["tokens"]["epsilon"] == facts.tokens.epsilon == pytest.approx(9.99, abs=0.05)
    assert any("privacy of tokens: epsilon" in e.get("text", "") for e in events(noised, "note"))


def given_by(event):
    return [entry["client"] for entry in event["clients"]]


def test_each_client_gives_one_token_a_stage(noised):
    given = [
        (event["stage"], c) for event in events(noised, "tokens-given") for c in given_by(event)
    ]
    assert len(given) == len(set(given))
    trained = {(event["stage"], event["client"]) for event in events(noised, "client-replied")}
    assert trained == set(given)


def test_what_was_given_before_a_crash_counts_too(tiny_folder, tmp_path, monkeypatch):
    config = run_config(
        tiny_folder, tmp_path / "run", tasks="imagenet-r", clients_per_round=CLIENTS, **NOISE
    )
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_state", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            serve(config)
    # The nodes have lost what they gave: the round is done again with fresh noise.
    folder = serve({**config, "resume": config["out"]})
    facts = read_result(folder.path).privacy.tokens
    assert facts.releases == {str(client): 2 for client in range(CLIENTS)}
    assert facts.epsilon == epsilon_of(1e-5, 0.5, 2)


LESSONS = """
[[stages]]
slots = ["arxivqa", "figureqa"]
[[stages]]
slots = ["figureqa", "arxivqa"]
"""


def test_a_lesson_that_comes_again_costs_nothing_more(tiny_folder, tmp_path):
    (tmp_path / "lessons.toml").write_text(LESSONS)
    config = run_config(
        tiny_folder,
        tmp_path / "run",
        tasks="",
        scenario=str(tmp_path / "lessons.toml"),
        rounds=2,
        **NOISE,
    )
    grid = InProcessGrid(client_app, 2, run_config=config)
    folder = serve(config, grid)
    given = [entry for event in events(folder, "tokens-given") for entry in event["clients"]]
    assert len(given) > 2
    by_lesson = {(entry["client"], *entry["tasks"]): entry["token"] for entry in given}
    assert all(by_lesson[e["client"], *e["tasks"]] == e["token"] for e in given)
    assert set(read_result(folder.path).privacy.tokens.releases.values()) == {1}


def ask(grid, config, stage=1, **lessons):
    (node,) = grid.contexts
    content = RecordDict({"config": ConfigRecord({"stage": stage, **lessons})})
    (reply,) = grid.send_and_receive([Message(content, node, IDENTITY_QUERY)])
    return reply


def of(figure):
    return {"participants": [0], "lessons": [figure]}


def test_a_question_asked_again_gets_the_same_answer(tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path, **NOISE)
    grid = InProcessGrid(client_app, 1, run_config=config)
    first = ask(grid, config).content["token"]["total"].numpy()
    assert (ask(grid, config).content["token"]["total"].numpy() == first).all()
    # mini-smoke's first stage is imagenet-r: the same samples by another name, in another stage.
    again = ask(grid, config, 2, **of("imagenet-r")).content["token"]["total"].numpy()
    assert (again == first).all()
    other = ask(grid, config, 2).content["token"]["total"].numpy()
    assert not np.allclose(other, first)
    # Another node, or a later run, draws anew: 1024 numbers, and not one of them alike.
    fresh = InProcessGrid(client_app, 1, run_config=config)
    redrawn = ask(fresh, config).content["token"]["total"].numpy()
    plain = InProcessGrid(client_app, 1, run_config={**config, "identity.noise": 0.0})
    true = ask(plain, config).content["token"]["total"].numpy()
    assert (redrawn != first).all()
    for total in (first, redrawn):
        assert (total - true).std() == pytest.approx(deviation(1.0, 0.5), rel=0.1)


def test_the_guard_makes_room_for_the_noise_and_not_for_more(tiny_folder, tmp_path):
    config = run_config(tiny_folder, tmp_path, identity__clip=1.0, identity__noise=1e4)
    grid = InProcessGrid(client_app, 1, run_config=config)
    reply = ask(grid, config)
    (sent,) = grid.sent
    sigma = deviation(1.0, 1e4)
    assert "more than 1000" in judge_identity(sent, reply, 0, 10**6)
    assert judge_identity(sent, reply, 0, 10**6, noise=sigma) is None
    token = read_identity(reply).token
    assert isinstance(token, IdentityToken)
    assert "norm" in judge_identity(sent, reply, 0, 10**6, noise=sigma / 2)


def given(client, tasks, *tokens):
    clients = [{"client": client, "tasks": tasks, "token": token} for token in tokens]
    return {"event": "tokens-given", "clients": clients}


def test_a_sample_is_in_as_many_tokens_as_are_about_its_task():
    assert tokens_of_a_sample([]) == {}
    found = tokens_of_a_sample(
        [
            given(2, ["a", "b"], "1"),
            given(1, ["a"], "1"),
            given(2, ["a", "b"], "1"),  # the same, after a node came back
            given(1, ["b"], "2"),
            given(2, ["b", "c"], "3"),
            given(2, ["b"], "4"),
        ]
    )
    assert found == {1: 1, 2: 3}


def test_an_update_counts_once_it_may_have_left_a_client():
    replied = {"event": "client-replied", "client": 1}
    rejected = {"event": "client-rejected", "client": 1, "bytes-down": 9}
    assert updates_given(
        [
            replied,
            {**rejected, "norm": 3.0, "median": 1.0, "bytes": 9},  # the same reply, judged again
            {**rejected, "bytes": 9},
            {**rejected, "bytes": 0},  # an error instead
            {**rejected, "client": 4},  # too late
            {"event": "client-rejected", "client": 5},  # gave no token, was sent nothing
        ]
    ) == {1: 2, 4: 1}


def test_several_releases_cost_more_and_the_worst_client_counts():
    config = parse({"identity.clip": 1.0, "identity.noise": 2.0, "privacy.delta": 1e-6})
    facts = privacy_facts(config, [given(0, ["a"], "1"), given(3, ["a"], "2", "3", "4")])
    assert facts["updates"] is None
    tokens = facts["tokens"]
    assert tokens["releases"] == {"0": 1, "3": 3}
    assert tokens["epsilon"] == tokens["epsilons"]["3"] == epsilon_of(1e-6, 2.0, 3)
    assert tokens["epsilons"]["0"] == epsilon_of(1e-6, 2.0)
    assert privacy_facts(parse({}), []) is None
