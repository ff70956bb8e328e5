"""The guard: every reply is judged before any strategy sees it.

Stock strategies let one client's NaN into the global model and end the run on one odd key. A reply
that does not mirror what was sent, or holds values that no honest client sends, is left out of the round and
reported with its reason.
"""

from __future__ import annotations

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord

_MOST_EXAMPLES = 10**9
"""More training samples than any client has."""


def judge(sent: Message, reply: Message) -> str | None:
    """Say what is wrong with a training reply, or None.

    Parameters
    ----------
    sent : Message
        The message that the node was sent; its ArrayRecords say what must come back.
    reply : Message
        What came back.

    Returns
    -------
    str or None
        The reason to leave the reply out: an error, other records, other keys, another shape or
        dtype, values that are not finite, or an impossible number of examples.
    """
    if reply.has_error():
        return reply.error.reason
    wanted, found = sent.content.array_records, reply.content.array_records
    if set(wanted) != set(found):
        return f"array records {sorted(found)} instead of {sorted(wanted)}"
    for name in wanted:
        problem = _judge_arrays(wanted[name], found[name])
        if problem:
            return f"{name}: {problem}"
    return _judge_metrics(reply.content.metric_records.get("metrics", MetricRecord()))


def _judge_arrays(wanted: ArrayRecord, found: ArrayRecord) -> str | None:
    if set(wanted) != set(found):
        odd = sorted(set(wanted) ^ set(found))
        return f"{len(odd)} keys differ, for example {odd[0]}"
    for key, array in wanted.items():
        other = found[key]
        if tuple(other.shape) != tuple(array.shape):
            return f"{key} has shape {tuple(other.shape)} instead of {tuple(array.shape)}"
        if other.dtype != array.dtype:
            return f"{key} has dtype {other.dtype} instead of {array.dtype}"
        try:
            values = other.numpy()
        except (ValueError, EOFError, OSError) as error:
            return f"{key} cannot be read ({error})"
        if values.shape != tuple(array.shape):
            return f"{key} holds shape {values.shape} but announces {tuple(array.shape)}"
        if not np.isfinite(values).all():
            return f"{key} holds values that are not finite"
    return None


def _judge_metrics(metrics: MetricRecord) -> str | None:
    examples = metrics.get("num-examples")
    if not isinstance(examples, int) or not 1 <= examples <= _MOST_EXAMPLES:
        return f"num-examples is {examples!r}, not a whole number from 1 to {_MOST_EXAMPLES}"
    loss = metrics.get("train-loss")
    if not isinstance(loss, float) or not np.isfinite(loss):
        return f"train-loss is {loss!r}, not a finite number"
    return None
