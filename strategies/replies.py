"""Whose reply is it, and can it be used."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from flwr.app import ArrayRecord, Error, Message, Metadata, MetricRecord

from strategies.records import CLIENT, METRICS, NUM_EXAMPLES

# How Flower words an exception of a client, with or without its simulation engine around it.
_RAISED = re.compile(r"<class '[^']*'>:<'(?P<text>.*)'>", re.DOTALL)
_WRAPPED = "Exception ClientAppException occurred. Message: "


@dataclass(frozen=True)
class Rejection:
    """A client that took no part in a round, or whose work was not used.

    Attributes
    ----------
    node : int
        Flower's node id.
    client : int or None
        Stable client id, None while the node has not told it.
    phase : str
        "identity" (asking for the token) or "train".
    reason : str
        What was wrong, as a sentence part.
    """

    node: int
    client: int | None
    phase: Literal["identity", "train"]
    reason: str


def replies_by_node(
    sent: Iterable[Metadata], replies: Iterable[Message]
) -> tuple[dict[int, Message], dict[int, str]]:
    """Pair replies with the nodes that were asked; replies nobody asked for are left out.

    A reply belongs to the node whose message it answers. Its source says less: the SuperLink
    answers in its own name (node 1) for a node that went away.

    Parameters
    ----------
    sent : Iterable[Metadata]
        Metadata of the messages sent, one a node (read after sending, when they have ids).
    replies : Iterable[Message]
        Replies in any order.

    Returns
    -------
    good : dict[int, Message]
        Node to its one reply with content, in the order of `sent`.
    failed : dict[int, str]
        Node to the reason why there is none.
    """
    asked = list(sent)
    nodes = {metadata.dst_node_id for metadata in asked}
    node_of_message = {
        metadata.message_id: metadata.dst_node_id for metadata in asked if metadata.message_id
    }
    received: dict[int, list[Message]] = defaultdict(list)
    for reply in replies:
        source = reply.metadata.src_node_id
        node = node_of_message.get(reply.metadata.reply_to_message_id)
        if node is None and source in nodes:
            node = source
        if node is not None:
            received[node].append(reply)

    good: dict[int, Message] = {}
    failed: dict[int, str] = {}
    for metadata in asked:
        node = metadata.dst_node_id
        answers = received[node]
        if not answers:
            failed[node] = "no reply in time"
        elif len(answers) > 1:
            # Using the first would make the result depend on the order of arrival.
            failed[node] = f"{len(answers)} replies to one message"
        elif answers[0].has_error():
            failed[node] = error_text(answers[0].error)
        else:
            good[node] = answers[0]
    return good, failed


def error_text(error: Error) -> str:
    """Find the client's own words in one of Flower's error replies."""
    reason = error.reason or ""
    raised = _RAISED.fullmatch(reason.strip())
    text = raised["text"] if raised else reason
    return text.rpartition(_WRAPPED)[2].strip() or f"error {error.code} without a reason"


def problem_of_parts(reply: Message, sent: Mapping[str, ArrayRecord]) -> str | None:
    """Say what keeps a training reply from mirroring the parts sent, or None.

    Checks that every record is there with the same array names and shapes; values are judged
    before, by whoever runs the loop.
    """
    for name, record in sent.items():
        answer = reply.content.array_records.get(name)
        if answer is None:
            return f"the reply has no ArrayRecord {name!r}"
        if answer.keys() != record.keys():
            odd = sorted(answer.keys() ^ record.keys())[0]
            return f"the arrays of {name!r} are not the ones sent (see {odd!r})"
        for key, array in record.items():
            if tuple(answer[key].shape) != tuple(array.shape):
                return (
                    f"{key!r} has shape {tuple(answer[key].shape)} instead of {tuple(array.shape)}"
                )
    return None


def common_metrics(
    replies: Mapping[int, Message], counts: Mapping[int, int]
) -> dict[int, MetricRecord]:
    """Each client's scalar metrics that all clients report, ready for a stock strategy.

    Flower aborts a run if replies differ in their metrics' names, so one odd client must not
    decide them. "client" is a name, not a quantity, and is left out. "num-examples" is the count
    of the client's identity token: one sample weight for tokens and adapters alike.

    Parameters
    ----------
    replies : Mapping[int, Message]
        Client to reply.
    counts : Mapping[int, int]
        Client to the sample count of its token.
    """
    scalars = {
        client: {
            key: value
            for key, value in reply.content.metric_records.get(METRICS, MetricRecord()).items()
            if not isinstance(value, list) and key not in (CLIENT, NUM_EXAMPLES)
        }
        for client, reply in replies.items()
    }
    shared = set.intersection(*(set(found) for found in scalars.values())) if scalars else set()
    metrics = {client: MetricRecord({NUM_EXAMPLES: counts[client]}) for client in scalars}
    for client, found in scalars.items():
        metrics[client].update({key: found[key] for key in sorted(shared)})
    return metrics


def mean_metrics(metrics: Mapping[int, MetricRecord]) -> MetricRecord:
    """Sample-weighted mean of the clients' metrics, summed in the mapping's order."""
    records = list(metrics.values())
    weights = [_scalar(record, NUM_EXAMPLES) for record in records]
    keys = [key for key in records[0] if key != NUM_EXAMPLES] if records else []
    return MetricRecord(
        {
            key: sum(w * _scalar(record, key) for w, record in zip(weights, records, strict=True))
            / sum(weights)
            for key in keys
        }
    )


def _scalar(record: MetricRecord, key: str) -> float:
    value = record[key]
    if isinstance(value, list):
        raise TypeError(f"metric {key!r} is a list")
    return float(value)
