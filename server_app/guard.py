"""The guard: every reply is judged before any strategy sees it.

Stock strategies let one client's NaN into the global model and end the run on one odd key. A reply
that does not mirror what was sent, or holds values that no honest client sends, is left out of the
round and reported with its reason.
"""

from __future__ import annotations

import copy
import math
import re

import numpy as np
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict

from strategies.records import METRICS, NUM_EXAMPLES

LOSS = "train-loss"
SECONDS = "seconds"

# How Flower words an exception of a client, with or without its simulation engine around it.
_RAISED = re.compile(r"<class '[^']*'>:<'(?P<text>.*)'>", re.DOTALL)
_WRAPPED = "Exception ClientAppException occurred. Message: "


def judge(sent: Message, reply: Message, most_examples: int) -> str | None:
    """Say what is wrong with a training reply, or None.

    Parameters
    ----------
    sent : Message
        The message that the node was sent; its ArrayRecords say what must come back.
    reply : Message
        What came back.
    most_examples : int
        More training samples than this no client can have.

    Returns
    -------
    str or None
        The reason to leave the reply out: an error, other records, other keys, another shape or
        dtype, values that are not finite, an impossible number of examples, loss or time.
    """
    if reply.has_error():
        return error_text(reply.error)
    wanted, found = sent.content.array_records, reply.content.array_records
    if set(wanted) != set(found):
        return f"array records {sorted(found)} instead of {sorted(wanted)}"
    for name in wanted:
        problem = _judge_record(wanted[name], found[name])
        if problem:
            return f"{name}: {problem}"
    metrics = reply.content.metric_records.get(METRICS, MetricRecord())
    return _judge_metrics(metrics, most_examples)


def cleaned(reply: Message) -> Message:
    """Shallow copy of a good reply with nothing in it that was not judged.

    Flower's strategies end the run if clients differ in the names of their metrics.
    """
    metrics = reply.content.metric_records[METRICS]
    kept = MetricRecord({key: metrics[key] for key in (NUM_EXAMPLES, LOSS)})
    clean = copy.copy(reply)
    clean.content = RecordDict({**reply.content.array_records, METRICS: kept})
    return clean


def error_text(error: Error) -> str:
    """Find the client's own words in one of Flower's error replies."""
    reason = error.reason or ""
    raised = _RAISED.fullmatch(reason.strip())
    text = raised["text"] if raised else reason
    return text.rpartition(_WRAPPED)[2].strip() or f"error {error.code} without a reason"


def _judge_record(wanted: ArrayRecord, found: ArrayRecord) -> str | None:
    for kind, keys in (("misses", set(wanted) - set(found)), ("adds", set(found) - set(wanted))):
        if keys:
            return f"the reply {kind} {len(keys)} keys, first {min(keys)}"
    for key, array in wanted.items():
        problem = _judge_array(array, found[key])
        if problem:
            return f"{key} {problem}"
    return None


def _judge_array(wanted: Array, found: Array) -> str | None:
    shape, dtype = tuple(wanted.shape), wanted.dtype
    # What is announced is looked at first: nothing of another size has to be unpacked.
    if tuple(found.shape) != shape:
        return f"has shape {tuple(found.shape)} instead of {shape}"
    if found.dtype != dtype:
        return f"has dtype {found.dtype} instead of {dtype}"
    try:
        values = found.numpy()
    except Exception as error:  # whatever a stranger's bytes make NumPy raise
        return f"cannot be read ({error})"
    if values.shape != shape or str(values.dtype) != dtype:
        return f"announces {dtype} {shape} but holds {values.dtype} {values.shape}"
    if not np.isfinite(values).all():
        return "holds values that are not finite"
    return None


def _judge_metrics(metrics: MetricRecord, most_examples: int) -> str | None:
    examples, loss = metrics.get(NUM_EXAMPLES), metrics.get(LOSS)
    if not isinstance(examples, int) or not 1 <= examples <= most_examples:
        return f"{NUM_EXAMPLES} is {examples!r}, not a whole number from 1 to {most_examples}"
    if not isinstance(loss, (int, float)) or not math.isfinite(loss):
        return f"{LOSS} is {loss!r}, not a finite number"
    seconds = metrics.get(SECONDS, 0.0)
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
        return f"{SECONDS} is {seconds!r}, not a finite number of 0 or more"
    return None
