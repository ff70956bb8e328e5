"""Sending messages and taking the replies one by one, within a time limit."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator

from flwr.app import Message
from flwr.serverapp import Grid

from strategies.grid_view import GridView

# A pause between two looks for replies is a small part of the time waited so far: short rounds lose
# nothing to waiting, long ones do not keep the SuperLink busy.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.01, 1.0
_PART_OF_WAIT = 0.02


def exchange(grid: Grid, messages: Iterable[Message], timeout: float) -> Iterator[Message]:
    """Send messages and give their replies as they come in.

    Parameters
    ----------
    grid : Grid
        Where to send.
    messages : Iterable[Message]
        One a node.
    timeout : float
        Seconds; replies that come later are left out.

    Yields
    ------
    Message
        At most one reply to each message, error replies among them.
    """
    waiting = {key for key in grid.push_messages(list(messages)) if key}
    start = time.monotonic()
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
    """

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send messages and wait for replies; without limit if there is no timeout."""
        return list(exchange(self, messages, math.inf if timeout is None else timeout))
