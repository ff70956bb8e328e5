"""Who is late, since when, and what happens next."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flwr.app import Message

from fcit_app.config import RunConfig
from server_app.replies import Tell


class Late:
    """A wait with a limit, and what is told while it lasts.

    Parameters
    ----------
    clients : Mapping[int, int]
        Node to client.
    key : str
        The setting that limits the wait.
    seconds : float
        The limit.
    tell : Tell
        Where the late are reported (``waiting``).
    next_step : Callable[[], str]
        What happens at the limit, if nobody else answers.
    """

    def __init__(
        self,
        clients: Mapping[int, int],
        key: str,
        seconds: float,
        tell: Tell,
        next_step: Callable[[], str] = lambda: "it goes on without them",
    ) -> None:
        self._clients = clients
        self._key = key
        self.seconds = seconds
        self._tell = tell
        self._next_step = next_step

    def remind(self, missing: list[Message], waited: float) -> None:
        """Report who has not answered yet."""
        self._tell(
            "waiting",
            clients=sorted(self._clients[message.metadata.dst_node_id] for message in missing),
            seconds=round(waited, 1),
            left=round(self.seconds - waited, 1),
            then=self._next_step(),
        )

    def reason(self, waited: float) -> str:
        """Say why who has not answered after ``waited`` seconds is left out."""
        if waited < self.seconds:
            return "its message could not be sent; Flower's log says why"
        return f"no reply within {self.seconds:g} s ({self._key})"


def training_limit(config: RunConfig) -> tuple[str, float]:
    """Key and seconds of the limit for a round's training."""
    if config.round_timeout:
        return "round-timeout", config.round_timeout
    return "client-timeout", config.client_timeout
