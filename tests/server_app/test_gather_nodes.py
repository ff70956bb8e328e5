"""Finding the clients among the nodes, and what is said if that fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_runs import run_config
from flwr.app import Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from in_process_grid import InProcessGrid

import server_app.nodes
from client_app.app import app as client_app
from fcit_app.config import parse
from fcit_app.errors import ConfigError, RunError
from server_app.nodes import gather_clients, wait_for_nodes


def gather(grid, **changes):
    said = []
    config = parse(run_config(Path("mini"), Path("run"), **changes))
    return gather_clients(grid, config, 0.0, said.append), said


def test_clients_keep_their_numbers_whatever_the_nodes_are_called():
    grid = InProcessGrid(client_app, [2, 0, 1], nodes=[7, 9, 3])
    assert gather(grid) == ({0: 9, 1: 3, 2: 7}, [])
    assert list(gather(grid)[0]) == [0, 1, 2]


@pytest.mark.parametrize(("count", "words"), [(1, "1 node is"), (0, "0 nodes are")])
def test_too_few_nodes_name_the_option_that_adds_more(count, words):
    with pytest.raises(RunError) as caught:
        gather(InProcessGrid(client_app, count))
    text = str(caught.value)
    assert f"clients-per-round = 2, but only {words} connected" in text
    assert "--federation-config 'num-supernodes=5'" in text
    assert "--clients 5" in text


def test_nodes_that_come_later_are_waited_for(monkeypatch):
    monkeypatch.setattr(server_app.nodes, "_PAUSE", 0.01)
    grid = InProcessGrid(client_app, 3)
    shown = iter([[], [1000], [1002, 1000]])
    monkeypatch.setattr(grid, "get_node_ids", lambda: next(shown))
    said = []
    assert wait_for_nodes(grid, 2, 10.0, said.append) == (1000, 1002)
    assert said[0].startswith("waiting for nodes: 0 of 2 connected")
    assert said[1].startswith("waiting for nodes: 1 of 2 connected")


def test_two_nodes_of_one_client():
    grid = InProcessGrid(client_app, 3)
    grid.contexts[1002].node_config["partition-id"] = 0
    with pytest.raises(RunError, match=r"Nodes 1000 and 1002 both say that they are client 0.*"):
        gather(grid)


def test_nodes_that_disagree_on_the_number_of_clients():
    grid = InProcessGrid(client_app, 3)
    grid.contexts[1001].node_config["num-partitions"] = 5
    with pytest.raises(RunError, match="3 says node 1000, 5 says node 1001"):
        gather(grid)


def test_silent_nodes_take_no_part():
    def fail(client, message):
        return {1: "silent", 2: "error", 4: "superlink"}.get(client)

    grid = InProcessGrid(client_app, 5, fail=fail)
    clients, said = gather(grid, client_timeout=0.2)
    assert clients == {0: 1000, 3: 1003}
    (text,) = said
    assert text == (
        "3 of 5 nodes take no part. Node 1001: no answer within 0.2 s (client-timeout). "
        "Node 1002: injected failure. Node 1004: injected failure."
    )


def test_too_few_answers_give_the_first_reason():
    grid = InProcessGrid(client_app, 3)
    for node in (1000, 1001):
        del grid.contexts[node].node_config["num-partitions"]
    with pytest.raises(RunError) as caught:
        gather(grid)
    text = str(caught.value)
    assert "only 1 of 3 nodes said which client they are" in text
    assert "Node 1000: " in text
    assert "--node-config 'partition-id=0 num-partitions=5'" in text


def test_an_answer_without_sense_is_no_client():
    app = ClientApp()

    @app.query("hello")
    def hello(message, context):
        content = RecordDict({"metrics": MetricRecord({"client": 0.5})})
        return Message(content, reply_to=message)

    with pytest.raises(RunError, match=r"only 0 of 3 nodes.*not its client id"):
        gather(InProcessGrid(app, 3))


def test_samples_must_do_for_all_clients_not_only_for_those_that_answer():
    grid = InProcessGrid(client_app, 2)
    for context in grid.contexts.values():
        context.node_config["num-partitions"] = 11
    with pytest.raises(ConfigError, match="cannot give each of 11 clients"):
        gather(grid)
