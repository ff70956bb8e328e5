"""What clients have given out with noise, as the ledger knows it, and the (ε, δ) that this makes.

Each answer counts that reached the server, used or not, and also what was given before a run was
interrupted and does not stand: what has left a client cannot be taken back.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flwr.app import ArrayRecord, Message

from fcit_app.config import RunConfig
from fcit_app.identity.accountant import epsilon_of
from server_app.exchange import Inspect
from server_app.replies import Tell
from strategies.identities import IDENTITY_QUERY

TOKENS_GIVEN = "tokens-given"
"""Ledger's event: whose noised tokens came in a round."""

SAMPLE = "one sample of a client, replaced by any other"
CLIENT = "all samples of a client, replaced by any others"


class TokensGiven:
    """Notes the noised tokens of a round before anything judges them.

    Parameters
    ----------
    clients : Mapping[int, int]
        Node to client.
    inspect : Inspect
        What sees the replies next.
    """

    def __init__(self, clients: Mapping[int, int], inspect: Inspect) -> None:
        self._clients = clients
        self._next = inspect
        self._found: dict[int, str] = {}

    def inspect(self, message: Message, reply: Message) -> Message:
        """Note a token, if the reply holds one."""
        if message.metadata.message_type == IDENTITY_QUERY and not reply.has_error():
            record = reply.content.array_records.get("token", ArrayRecord())
            data = b"".join(record[key].data for key in sorted(record))
            client = self._clients[message.metadata.dst_node_id]
            self._found[client] = hashlib.sha256(data).hexdigest()[:16]
        return self._next(message, reply)

    def tell(self, tasks: Mapping[int, Sequence[str]], tell: Tell) -> None:
        """Report who gave which token about which tasks, if anybody did."""
        given = [
            {"client": client, "tasks": list(tasks[client]), "token": digest}
            for client, digest in sorted(self._found.items())
        ]
        if given:
            tell(TOKENS_GIVEN, clients=given)


def privacy_facts(config: RunConfig, events: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """State what a run's noise was worth to each client, from all events of its ledger.

    Returns
    -------
    dict or None
        ``tokens`` and ``updates``: what is hidden, the noise, and by client (as text) ``releases``
        and ``epsilons`` at ``delta``; ``epsilon`` is the largest. None where there is no noise.
    """
    found = list(events)
    identity, privacy = config.identity, config.privacy
    tokens = updates = None
    if identity.noise > 0 and config.method == "disco":
        releases = tokens_of_a_sample(found)
        tokens = _facts(SAMPLE, identity.clip, identity.noise, privacy.delta, releases)
    if privacy.update_noise > 0:
        releases = updates_given(found)
        updates = _facts(CLIENT, privacy.update_clip, privacy.update_noise, privacy.delta, releases)
    return {"tokens": tokens, "updates": updates} if tokens or updates else None


def tokens_of_a_sample(events: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """Client to how many of its tokens one sample can be in; a token that came twice is one.

    Tokens about different tasks have no sample in common.
    """
    found: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for event in events:
        if event["event"] == TOKENS_GIVEN:
            for given in event["clients"]:
                for task in given["tasks"]:
                    found[given["client"]][task].add(given["token"])
    return {client: max(map(len, tasks.values())) for client, tasks in sorted(found.items())}


def updates_given(events: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """Client to how many noised updates may have left it: all but those it answered by an error."""
    left = Counter(
        event["client"]
        for event in events
        if event["event"] == "client-replied"
        # Sent something, and no error came back; an outlier's reply has been counted when it came.
        or (
            event["event"] == "client-rejected"
            and "bytes-down" in event
            and event.get("bytes") != 0
            and "norm" not in event
        )
    )
    return dict(sorted(left.items()))


def in_words(facts: Mapping[str, Any]) -> list[str]:
    """Say it in a line each."""
    return [
        f"privacy of {what}: epsilon {entry['epsilon']:.3g} at delta {entry['delta']:g} for the "
        f"client with the most releases ({max(entry['releases'].values(), default=0)}); hidden is "
        f"{entry['hidden']}"
        for what, entry in facts.items()
        if entry
    ]


def _facts(
    hidden: str, clip: float, noise: float, delta: float, releases: Mapping[int, int]
) -> dict[str, Any]:
    spent = {count: epsilon_of(delta, noise, count) for count in set(releases.values())}
    return {
        "hidden": hidden,
        "mechanism": "gaussian",
        "clip": clip,
        "noise": noise,
        "delta": delta,
        "epsilon": max(spent.values(), default=0.0),
        "releases": {str(client): count for client, count in releases.items()},
        "epsilons": {str(client): spent[count] for client, count in releases.items()},
    }
