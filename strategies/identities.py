"""Asking nodes who they are: stable client id and identity token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from flwr.app import (
    ArrayRecord,
    ConfigRecord,
    ConfigRecordValues,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp import Grid
from numpy.typing import NDArray

from fcit_app.errors import DataError
from fcit_app.identity.prototypes import LARGEST_NUMBER
from fcit_app.identity.tokens import IdentityToken
from strategies.records import CLIENT, CONFIG, METRICS, NUM_EXAMPLES
from strategies.replies import replies_by_node

IDENTITY_QUERY = f"{MessageType.QUERY}.identity"
"""Message type of the question; a ClientApp answers it with `@app.query("identity")`."""


@dataclass(frozen=True)
class Identity:
    """What a node answers: its stable client id and its token of this stage."""

    client: int
    token: IdentityToken


def identity_question(
    node: int,
    stage: int,
    group_id: str,
    ttl: float,
    lessons: Mapping[str, ConfigRecordValues] = MappingProxyType({}),
) -> Message:
    """Write the question for a node's identity in a stage; ``ttl``: seconds that it lives.

    See `ask_identities` for the other parameters.
    """
    content = RecordDict({CONFIG: ConfigRecord({"stage": stage, **lessons})})
    return Message(content, node, IDENTITY_QUERY, ttl=ttl, group_id=group_id)


def ask_identities(
    grid: Grid,
    nodes: Iterable[int],
    stage: int,
    group_id: str,
    timeout: float,
    lessons: Mapping[str, ConfigRecordValues] = MappingProxyType({}),
) -> tuple[dict[int, Identity], dict[int, str]]:
    """Ask each node for its identity in this stage.

    Parameters
    ----------
    grid : Grid
        Where to send.
    nodes : Iterable[int]
        Whom to ask; nothing is sent if there is none.
    stage : int
        The stage whose data the token is about.
    group_id : str
        Group of the messages (the round).
    timeout : float
        Seconds to wait.
    lessons : Mapping[str, ConfigRecordValues]
        The round's entries that tell who learns what, see `fcit_app.data.lesson`; the token is
        about a client's own lesson then.

    Returns
    -------
    identities : dict[int, Identity]
        Node to its well-formed answer.
    failed : dict[int, str]
        Node to the reason why there is none.
    """
    messages = [identity_question(node, stage, group_id, timeout, lessons) for node in nodes]
    if not messages:
        return {}, {}
    sent = [message.metadata for message in messages]
    replies, failed = replies_by_node(sent, grid.send_and_receive(messages, timeout=timeout))
    identities: dict[int, Identity] = {}
    for node, reply in replies.items():
        try:
            identities[node] = read_identity(reply)
        except DataError as error:
            failed[node] = str(error)
    return identities, failed


def read_identity(reply: Message) -> Identity:
    """Read an answer to the identity query.

    Raises
    ------
    DataError
        If the reply is not `{"token": {"total": (d,)}, "metrics": {"num-examples", "client"}}`,
        with `"prototypes": (p, d)` and `"prototype-counts": (p,)` beside the total or without, or
        holds values that no token can have.
    """
    record = reply.content.array_records.get("token", ArrayRecord())
    metrics = reply.content.metric_records.get(METRICS, MetricRecord())
    client, count = metrics.get(CLIENT), metrics.get(NUM_EXAMPLES)
    if "total" not in record or not isinstance(client, int) or not isinstance(count, int):
        raise DataError(
            "The answer to the identity query must hold the array token/total and the whole "
            "numbers metrics/num-examples and metrics/client."
        )
    token = IdentityToken(_numbers(record, "total", "fiu"), count, _prototypes(record))
    token.validate()
    return Identity(client, token)


def _prototypes(record: ArrayRecord) -> tuple[IdentityToken, ...]:
    if "prototypes" not in record and "prototype-counts" not in record:
        return ()
    if not {"prototypes", "prototype-counts"} <= record.keys():
        raise DataError("Prototypes and their counts (token/prototype-counts) come together.")
    totals = _numbers(record, "prototypes", "fiu")
    counts = _numbers(record, "prototype-counts", "iu")
    if totals.ndim != 2 or counts.shape != totals.shape[:1] or not len(counts):
        raise DataError(
            f"Prototypes must be a (clusters, features) matrix with one count a cluster, not of "
            f"shapes {totals.shape} and {counts.shape}."
        )
    if len(counts) > LARGEST_NUMBER:
        raise DataError(f"{len(counts)} prototypes are more than {LARGEST_NUMBER}.")
    return tuple(
        IdentityToken(total, int(count)) for total, count in zip(totals, counts, strict=True)
    )


def _numbers(record: ArrayRecord, key: str, kinds: str) -> NDArray[Any]:
    """Read a stranger's array of integers ("i", "u") or real numbers ("f")."""
    what = "token" if key == "total" else f"token's {key}"
    if key not in record:
        raise DataError(f"The {what} is missing.")
    try:
        array = record[key].numpy()
    except Exception as error:  # whatever a stranger's bytes make NumPy raise
        raise DataError(f"The {what} cannot be read: {error}.") from error
    if array.dtype.kind not in kinds:
        wanted = "real" if "f" in kinds else "whole"
        raise DataError(f"The {what} must hold {wanted} numbers, not {array.dtype}.")
    return array


def wrong_widths(tokens: Mapping[int, IdentityToken], width: int | None) -> dict[int, str]:
    """Clients whose token cannot be compared with the others', and why.

    Parameters
    ----------
    tokens : Mapping[int, IdentityToken]
        Client to token.
    width : int or None
        Width that is already settled. If None, the most frequent one counts (of the smallest
        client on a tie).
    """
    if width is None and tokens:
        found = Counter(tokens[client].total.size for client in sorted(tokens))
        width = found.most_common(1)[0][0]
    problems: dict[int, str] = {}
    for client, token in sorted(tokens.items()):
        try:
            token.validate(width)
        except DataError as error:
            problems[client] = str(error)
    return problems
