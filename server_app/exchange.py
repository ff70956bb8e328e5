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

GRACE = 5.0
"""Seconds that messages outlive the wait for their replies.

Of a client that is late we say so in our own words; the SuperLink would say that a message is
unavailable.
"""

# Who is still missing is told after this many seconds, then after twice as many, and so on.
_FIRST_WORD, _LONGEST_SILENCE = 30.0, 600.0

Remind = Callable[[list[Message], float], None]
"""Told, every now and then, which messages have no reply yet and for how many seconds."""

Inspect = Callable[[Message, Message], Message]
"""From a message and its reply to the reply that the strategy may see."""


def exchange(
    grid: Grid,
    messages: Iterable[Message],
    timeout: float,
    remind: Remind = lambda missing, waited: None,
    under_way: Iterable[Message] = (),
) -> Iterator[Message]:
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
    remind : Remind, optional
        Told who is late, while waiting.
    under_way : Iterable[Message], optional
        Messages that were sent before and have not been answered; waited for like the others.

    Yields
    ------
    Message
        At most one reply to each message, error replies among them.
    """
    outgoing, former = list(messages), list(under_way)
    if timeout < math.inf:
        for message in outgoing:
            message.metadata.ttl = timeout + GRACE
    start, word = time.monotonic(), _FIRST_WORD
    waiting = {key for key in grid.push_messages(outgoing) if key}
    waiting |= {message.metadata.message_id for message in former}
    while waiting:
        came = list(grid.pull_messages(sorted(waiting)))
        for reply in came:
            if reply.metadata.reply_to_message_id in waiting:
                waiting.remove(reply.metadata.reply_to_message_id)
                yield reply
        waited = time.monotonic() - start
        if waited >= timeout:
            return
        if waiting and waited >= word:
            word = waited + min(waited, _LONGEST_SILENCE)
            late = [m for m in (*outgoing, *former) if m.metadata.message_id in waiting]
            remind(late, waited)
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
    remind : Remind, optional
        See ``exchange``.
    """

    def __init__(
        self,
        grid: Grid,
        nodes: Iterable[int],
        patience: int | None = None,
        inspect: Inspect = lambda message, reply: reply,
        remind: Remind = lambda missing, waited: None,
    ) -> None:
        super().__init__(grid, nodes, patience)
        self._inspect = inspect
        self._remind = remind

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send messages and wait for replies; without limit if there is no timeout."""
        limit = math.inf if timeout is None else timeout
        answered = self._answered(list(messages), limit)
        return [self._inspect(message, reply) for message, reply in answered]

    def _answered(self, messages: list[Message], limit: float) -> list[tuple[Message, Message]]:
        """Ask; give each message that is answered in time with its reply."""
        replies = list(exchange(self, messages, limit, self._remind))
        asked = {message.metadata.message_id: message for message in messages}
        return [(asked[reply.metadata.reply_to_message_id], reply) for reply in replies]
