"""Sending messages and collecting the replies one by one, within a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from flwr.app import Message
from flwr.serverapp import Grid

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0  # seconds between two looks for replies


def exchange(
    grid: Grid, messages: Sequence[Message], timeout: float, arrived: Callable[[Message], None]
) -> list[Message]:
    """Send messages and wait for their replies.

    Parameters
    ----------
    grid : Grid
        Where to send.
    messages : Sequence[Message]
        One a node.
    timeout : float
        Seconds; replies that come later are left out.
    arrived : Callable[[Message], None]
        Called for each reply as it comes in.

    Returns
    -------
    list[Message]
        The replies in order of arrival, error replies among them.
    """
    waiting = [key for key in grid.push_messages(messages) if key]
    end = time.monotonic() + timeout
    pause = _SHORTEST_PAUSE
    replies: list[Message] = []
    while waiting:
        came = list(grid.pull_messages(waiting))
        for reply in came:
            replies.append(reply)
            arrived(reply)
        if came:
            answered = {reply.metadata.reply_to_message_id for reply in came}
            waiting = [key for key in waiting if key not in answered]
            pause = _SHORTEST_PAUSE
            continue
        if time.monotonic() >= end:
            break
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return replies
