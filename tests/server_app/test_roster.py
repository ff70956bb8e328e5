"""Clients that join, leave and return during a run, under whatever node number."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
from app_runs import events, run_config, serve
from flwr.app import Message
from in_process_grid import InProcessGrid

import server_app.roster
from client_app.app import app as client_app
from fcit_app.runs import RunFolder
from server_app.nodes import HELLO_QUERY, ClientNodes
from server_app.roster import Roster


class ChangingGrid(InProcessGrid):
    """A grid whose nodes come and go; `online` is what it shows."""

    def __init__(self, clients: int, before_look: Callable[[ChangingGrid, int], None], **more):
        super().__init__(client_app, clients, **more)
        self.online = list(self.contexts)
        self.looks = 0
        self.before_look = before_look

    def get_node_ids(self) -> list[int]:
        self.looks += 1
        self.before_look(self, self.looks)
        return list(self.online)

    def leave(self, node: int) -> None:
        self.online.remove(node)

    def enter(self, node: int, partition: int) -> None:
        context = copy.copy(next(iter(self.contexts.values())))
        context.node_id = node
        context.node_config = {**context.node_config, "partition-id": partition}
        self.contexts[node] = context
        self.online.append(node)


def still(grid: ChangingGrid, look: int) -> None:
    """Nothing changes by itself."""


def roster_of(clients: int, others: int = 0, **more) -> tuple[Roster, ChangingGrid, list[str]]:
    """A roster of all but some nodes' clients, its grid, and what it says."""
    grid, said = ChangingGrid(clients, still, **more), []
    nodes = {grid.partition(node): node for node in list(grid.contexts)[: clients - others]}
    return Roster(grid, ClientNodes(nodes, clients), said.append), grid, said


def test_nothing_is_asked_while_nobody_comes_or_goes():
    roster, grid, said = roster_of(3)
    for _ in range(3):
        assert roster.present(2, 60.0) == {0: 1000, 1: 1001, 2: 1002}
    assert (grid.sent, said) == ([], [])


def test_a_client_that_leaves_is_left_out_and_taken_back_under_its_old_node_unasked():
    roster, grid, said = roster_of(3)
    grid.leave(1001)
    assert roster.present(2, 60.0) == {0: 1000, 2: 1002}
    grid.online.append(1001)
    assert roster.present(2, 60.0) == {0: 1000, 1: 1001, 2: 1002}
    assert said == ["client 1 is away: its node is not connected", "client 1 is back"]
    assert grid.sent == []


@pytest.mark.parametrize("old_one_is_listed", [False, True])
def test_a_client_that_returns_under_another_node_is_recognised(old_one_is_listed):
    """A killed node is listed for another minute: the newer one counts, without waiting."""
    roster, grid, said = roster_of(3)
    if not old_one_is_listed:
        grid.leave(1001)
        roster.present(2, 60.0)
    grid.enter(7, partition=1)
    for _ in range(2):
        assert roster.present(2, 60.0) == {0: 1000, 1: 7, 2: 1002}
    assert said[-1] == "client 1 is back under another node number"
    assert [m.metadata.dst_node_id for m in grid.sent_of(HELLO_QUERY)] == [7]


def test_a_client_that_was_never_here_joins():
    roster, _, said = roster_of(3, others=1)
    assert roster.nodes == {0: 1000, 1: 1001}
    assert roster.present(2, 60.0) == {0: 1000, 1: 1001, 2: 1002}
    assert said == ["client 2 joins"]


def test_too_few_clients_are_filled_up_with_those_away():
    roster, grid, _ = roster_of(3)
    grid.leave(1000)
    grid.leave(1002)
    assert roster.present(2, 60.0) == {0: 1000, 1: 1001, 2: 1002}
    assert roster.present(1, 60.0) == {1: 1001}


def test_a_newcomer_that_answers_late_joins_a_later_round(monkeypatch):
    monkeypatch.setattr(server_app.roster, "ANSWER_WITHIN", 0.3)
    roster, grid, _ = roster_of(3, others=1)
    pull, held = grid.pull_messages, [True]
    monkeypatch.setattr(grid, "pull_messages", lambda ids: [] if held[0] else pull(ids))
    assert roster.present(2, 60.0) == {0: 1000, 1: 1001}
    held[0] = False
    assert roster.present(2, 60.0) == {0: 1000, 1: 1001, 2: 1002}
    assert len(grid.sent_of(HELLO_QUERY)) == 1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"num-partitions": 7}, r"client 2 of 7, and the run has clients 0 to 2"),
        ({"partition-id": 5}, r"partition-id = 5"),
    ],
)
def test_a_newcomer_that_does_not_fit_takes_no_part(config, words):
    roster, grid, said = roster_of(3, others=1)
    grid.contexts[1002].node_config |= config
    assert roster.present(2, 60.0) == {0: 1000, 1: 1001}
    assert len(said) == 1 and said[0].startswith("a new node takes no part: ")
    assert words in said[0]


@pytest.fixture
def settings(tiny_folder, tmp_path):
    return lambda name: run_config(tiny_folder, tmp_path / name, rounds=2)


def arrays_of(folder: RunFolder) -> dict[str, np.ndarray]:
    return folder.read_state().arrays


def test_a_run_whose_clients_change_nodes_all_the_time_is_the_same_run_to_the_bit(settings):
    """Tokens, counts and aggregators are kept by client: node numbers are only addresses."""

    def renumber(grid: ChangingGrid, look: int) -> None:
        if look > 1:
            for node in list(grid.online):
                grid.leave(node)
                grid.enter(node + 1000, grid.partition(node))

    plain, moved = settings("plain"), settings("moved")
    expected = serve(plain)
    found = serve(moved, ChangingGrid(5, renumber, run_config=moved))
    first, second = arrays_of(expected), arrays_of(found)
    assert first.keys() == second.keys() and len(first) > 10
    assert all(np.array_equal(first[key], second[key]) for key in first)
    results = [folder.read_result().model_dump(exclude={"seconds"}) for folder in (expected, found)]
    assert results[0] == results[1]
    asked = len(events(expected, "client-replied"))
    assert len(events(found, "client-replied")) == asked


def test_a_client_that_is_away_for_a_round_is_not_drawn_and_comes_back(settings):
    """Two of three are drawn each round; client 1 is away in the middle of the run."""
    config = settings("away") | {"rounds": 6, "tasks": "figureqa"}
    grid = ChangingGrid(3, still, run_config=config)

    def change(grid: ChangingGrid, look: int) -> None:
        if look == 3:  # the first look finds the clients, the second is the first round's
            grid.leave(1001)
        if look == 6:
            grid.enter(9, partition=1)

    grid.before_look = change
    folder = serve(config, grid)
    drawn = [event["participants"] for event in events(folder, "round-started")]
    assert [1 in participants for participants in drawn[1:4]] == [False] * 3
    assert 1 in drawn[4] or 1 in drawn[5]
    assert events(folder, "client-rejected") == []
    texts = [event["text"] for event in events(folder, "note")]
    assert "client 1 is away: its node is not connected" in texts
    assert "client 1 is back under another node number" in texts


def test_an_absent_client_that_must_be_drawn_is_rejected_and_the_round_goes_on(settings):
    config = settings("short") | {"rounds": 1, "tasks": "figureqa", "client-timeout": 1.0}

    def change(grid: ChangingGrid, look: int) -> None:
        if look == 2:
            grid.leave(1001)

    def fail(client: int, message: Message) -> str | None:
        return "superlink" if client == 1 and grid.looks > 1 else None

    grid = ChangingGrid(2, change, run_config=config, fail=fail)
    folder = serve(config, grid)
    assert [event["client"] for event in events(folder, "client-rejected")] == [1]
    assert [event["client"] for event in events(folder, "client-replied")] == [0]
