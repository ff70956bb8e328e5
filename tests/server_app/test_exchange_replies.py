"""Replies are taken as they come, at most one a message, and none after the timeout."""

from __future__ import annotations

import math
import time

import pytest
from flwr.app import DEFAULT_TTL, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from in_process_grid import InProcessGrid

from server_app.exchange import PromptGrid, exchange


class SlowGrid(InProcessGrid):
    """A grid whose nodes answer after a number of seconds of their own."""

    def __init__(self, delays):
        app = ClientApp()

        @app.query("hello")
        def hello(message, context):
            return Message(RecordDict(), reply_to=message)

        super().__init__(app, len(delays), nodes=range(len(delays)))
        self.delays = delays
        self.refused: set[int] = set()
        self.repeats = 1
        self._due = {}

    def push_messages(self, messages):
        messages = list(messages)
        ids = super().push_messages(messages)
        for key, message in zip(ids, messages, strict=True):
            self._due[key] = time.monotonic() + self.delays[message.metadata.dst_node_id]
        return [
            None if message.metadata.dst_node_id in self.refused else key
            for key, message in zip(ids, messages, strict=True)
        ]

    def pull_messages(self, message_ids):
        assert None not in list(message_ids)
        ready = [key for key in message_ids if self._due[key] <= time.monotonic()]
        return [r for r in super().pull_messages(ready) for _ in range(self.repeats)]

    def messages(self):
        return [Message(RecordDict(), node, "query.hello") for node in self.get_node_ids()]


def nodes(replies):
    return [reply.metadata.src_node_id for reply in replies]


def test_replies_are_given_as_they_come():
    grid = SlowGrid([0.15, 0.0, 0.05])
    start, seen = time.monotonic(), []
    for reply in exchange(grid, grid.messages(), 5.0):
        seen.append((reply.metadata.src_node_id, time.monotonic() - start))
    assert [node for node, _ in seen] == [1, 2, 0]
    assert seen[0][1] < 0.05 <= seen[1][1] < 0.15 <= seen[2][1] < 1.0


def test_the_timeout_is_respected_and_late_replies_are_dropped():
    grid = SlowGrid([0.0, 0.4])
    start = time.monotonic()
    assert nodes(exchange(grid, grid.messages(), 0.1)) == [0]
    assert 0.1 <= time.monotonic() - start < 0.3
    time.sleep(0.35)
    grid.delays = [0.0, 0.0]
    later = grid.messages()
    replies = list(exchange(grid, later, 1.0))
    assert sorted(nodes(replies)) == [0, 1]
    asked = {message.metadata.message_id for message in later}
    assert {reply.metadata.reply_to_message_id for reply in replies} == asked


def test_a_message_has_at_most_one_reply():
    grid = SlowGrid([0.0, 0.0])
    grid.repeats = 2
    assert sorted(nodes(exchange(grid, grid.messages(), 1.0))) == [0, 1]


def test_messages_that_cannot_be_sent_are_not_waited_for():
    grid = SlowGrid([0.0, 0.0])
    grid.refused = {1}
    start = time.monotonic()
    assert nodes(exchange(grid, grid.messages(), 5.0)) == [0]
    assert time.monotonic() - start < 1.0


def test_nothing_to_send():
    grid = SlowGrid([0.0])
    assert list(exchange(grid, [], 5.0)) == []


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_a_view_of_some_nodes_sees_replies_at_once(timeout):
    grid = SlowGrid([0.05, 0.0, 0.05])
    view = PromptGrid(grid, [2, 0])
    messages = [Message(RecordDict(), node, "query.hello") for node in view.get_node_ids()]
    start = time.monotonic()
    assert sorted(nodes(view.send_and_receive(messages, timeout=timeout))) == [0, 2]
    assert time.monotonic() - start < 1.0


def test_a_message_expires_soon_after_it_is_waited_for():
    grid = SlowGrid([0.0, 0.0])
    list(exchange(grid, grid.messages(), 30.0))
    PromptGrid(grid, [1]).send_and_receive(grid.messages()[1:], timeout=30.0)
    assert len(grid.sent) == 3
    assert all(30.0 < message.metadata.ttl < 60.0 for message in grid.sent)


def test_without_a_timeout_messages_keep_flowers_time_to_live():
    grid = SlowGrid([0.0])
    list(exchange(grid, grid.messages(), math.inf))
    assert grid.sent[0].metadata.ttl == DEFAULT_TTL


def test_what_a_strategy_sees_passes_an_inspection():
    grid = SlowGrid([0.0, 0.0])

    def inspect(message, reply):
        assert reply.metadata.reply_to_message_id == message.metadata.message_id
        if message.metadata.dst_node_id == 1:
            return Message(Error(0, "no good"), reply_to=message)
        return reply

    view = PromptGrid(grid, [0, 1], inspect=inspect)
    replies = view.send_and_receive(grid.messages(), timeout=5.0)
    errors = {r.metadata.src_node_id: r.has_error() for r in replies}
    assert errors == {0: False, 1: True}
