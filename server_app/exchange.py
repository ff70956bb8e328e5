"""Sending messages and taking the replies one by one, within a time limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator

from flwr.app import Message
from flwr.serverapp import Grid

from strategies.grid_view import GridView

# A pause between two looks for replies is a small part of the time waited so far: short rounds lose
# nothing to waiting, long ones do not keep the SuperLink busy.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.01, 1.0
_PART_OF_WAIT = 0.02

# Messages outlive the wait a little: of a client that is late we say so in our own words, where the
# SuperLink would say that a message is unavailable.
_GRACE = 5.0

Inspect = Callable[[Message, Message], Message]
"""From a message and its reply to the reply that the strategy may see."""


def exchange(grid: Grid, messages: Iterable[Message], timeout: float) -> Iterator[Message]:
    """Send messages and give their replies as they come in.

    Parameters
    ----------
    grid : Grid
        Where to send.
    messages : Iterable[Message]
        One a node.
    timeout : float
        Seconds from sending; later replies are left out. The messages expire soon after, so that
        a node that comes back does not work on what nobody waits for any more.

    Yields
    ------
    Message
        At most one reply to each message, error replies among them.
    """
    outgoing = list(messages)
    if timeout < math.inf:
        for message in outgoing:
            message.metadata.ttl = timeout + _GRACE
    start = time.monotonic()
    waiting = {key for key in grid.push_messages(outgoing) if key}
    while waiting:
        came = list(grid.pull_messages(sorted(waiting)))
        for reply in came:
            if reply.metadata.reply_to_message_id in waiting:
                waiting.remove(reply.metadata.reply_to_message_id)
                yield reply
        waited = time.monotonic() - start
        if waited >= timeout:
            return
        if waiting and not came:
            pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, _PART_OF_WAIT * waited))
            time.sleep(min(pause, timeout - waited))


class PromptGrid(GridView):
    """Some nodes of a grid, whose replies are seen at once.

    Flower's own grids look for replies every three seconds, which is most of a short query's time.

    Parameters
    ----------
    grid, nodes, patience
        See `GridView`.
    inspect : Inspect, optional
        What a strategy asks in the course of its own configuration passes through here.
    """

    def __init__(
        self,
        grid: Grid,
        nodes: Iterable[int],
        patience: int | None = None,
        inspect: Inspect = lambda message, reply: reply,
    ) -> None:
        super().__init__(grid, nodes, patience)
        self._inspect = inspect

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send messages and wait for replies; without limit if there is no timeout."""
        sent = list(messages)
        replies = list(exchange(self, sent, math.inf if timeout is None else timeout))
        asked = {message.metadata.message_id: message for message in sent}
        return [self._inspect(asked[r.metadata.reply_to_message_id], r) for r in replies]
