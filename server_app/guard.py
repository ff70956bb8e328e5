"""The guard: every reply is judged before any strategy sees it.

Stock strategies let one client's NaN into the global model and end the run on one odd key. A reply
that does not mirror what was sent, or holds values that no honest client sends, is left out of the
round and reported with its reason. What keeps within these bounds and is wrong all the same is the
business of a robust aggregator.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from fcit_app.errors import DataError, ModelError
from fcit_app.parcel import PARCEL
from server_app.mirror import judge_announced, judge_mirror, judge_names, judge_parcels
from server_app.norms import change_norm
from strategies.identities import read_identity
from strategies.records import (
    CLIENT,
    CONFIG,
    IMPORTANCE,
    MEMORY,
    METRICS,
    NUM_EXAMPLES,
    unpacked,
)
from strategies.replies import error_text

LOSS = "train-loss"
SECONDS = "seconds"

TASK_EXAMPLES = "examples/"
"""Before a task's name: metric that says how many of the examples are the task's."""

ECHOED = ("stage", "round")
"""What a client was told and must say again of its answer."""

LARGEST_CHANGE = 10.0
"""Largest root mean square change of a record's values in one round.

AdamW moves a value by about the learning rate a step, so a round of honest training stays below
learning rate times steps: 0.1 in the mini preset.
"""

LARGEST_FEATURE = 1e3
"""Largest norm of an instruction's feature, thus of their mean.

The hashed and the sentence encoder's features have norm 1, CLIP's some tens.
"""


LARGEST_IMPORTANCE = 1e6
"""Largest importance of a value: a squared gradient of a log-likelihood, below 100 as a rule."""


def judge(
    sent: Message,
    reply: Message,
    most_examples: int,
    tasks: Collection[str],
    noise: float = 0.0,
) -> str | None:
    """Say what is wrong with a training reply, or None.

    Parameters
    ----------
    sent : Message
        The message that the node was sent; its ArrayRecords, but for a method's memory, say what
        must come back.
    reply : Message
        What came back.
    most_examples : int
        More training samples than this no client can have.
    tasks : Collection[str]
        Tasks of the stage; the reply tells how many examples it has of each.
    noise : float
        Standard deviation of what clients add to each value.

    Returns
    -------
    str or None
        The reason to leave the reply out: an error, another node's, other records, other keys,
        another shape, dtype or size, values that are not finite or absurdly far from those sent, an
        impossible number of examples, loss or time, another stage or round.
    """
    if reply.has_error():
        return error_text(reply.error)
    source, node = reply.metadata.src_node_id, sent.metadata.dst_node_id
    if source != node:
        return f"the reply comes from node {source}, not from node {node}, which was asked"
    wanted, found = expected(sent), reply.content.array_records
    problem = judge_mirror(wanted, reply)
    if problem:
        return problem
    for name, record in wanted.items():
        for key in record:
            problem = judge_values(found[name][key])
            if problem:
                return f"{name}: {key} {problem}"
        problem = _judge_change(record, found[name], noise)
        if problem:
            return f"{name}: {problem}"
    metrics = reply.content.metric_records.get(METRICS, MetricRecord())
    return (
        _judge_metrics(metrics, most_examples)
        or _judge_tasks(metrics, tasks)
        or _judge_echo(sent, metrics)
    )


def expected(sent: Message) -> dict[str, ArrayRecord]:
    """Name to record of all that must come back: what was sent but for a method's memory."""
    records = sent.content.array_records
    return {name: record for name, record in records.items() if name != MEMORY}


def judge_identity(
    sent: Message,
    reply: Message,
    client: int,
    most_examples: int,
    most_prototypes: int = 0,
    noise: float = 0.0,
) -> str | None:
    """Say what is wrong with an answer to the identity query, or None.

    Its sample count is the weight of the client's token, adapter and projector.

    Parameters
    ----------
    sent : Message
        The question.
    reply : Message
        What came back.
    client : int
        Which client the node said it is when the run began.
    most_examples : int
        More training samples than this no client can have.
    most_prototypes : int
        More prototypes than this no client was asked for.
    noise : float
        Standard deviation of what clients add to each number of a token's total.
    """
    if reply.has_error():
        return error_text(reply.error)
    try:
        identity = read_identity(reply)
    except DataError as error:
        return str(error)
    token = identity.token
    if identity.client != client:
        return f"the node now says that it is client {identity.client}"
    if token.count > most_examples:
        return f"{NUM_EXAMPLES} is {token.count}, not a whole number from 1 to {most_examples}"
    if len(token.prototypes) > most_prototypes:
        return f"{len(token.prototypes)} prototypes, identity.prototypes is {most_prototypes}"
    for what, part in (("token", token), *(("prototype", p) for p in token.prototypes)):
        norm = float(np.linalg.norm(part.total.astype(np.float64))) / part.count
        longest = LARGEST_FEATURE + _longest_noise(part.total.size, noise) / part.count
        if norm > longest:
            return f"the {what}'s mean has norm {norm:.3g}, more than {longest:g}"
    return _judge_echo(sent, reply.content.metric_records[METRICS])


def judge_importance(sent: Message, reply: Message, client: int, most_examples: int) -> str | None:
    """Say what is wrong with an answer to the importance query, or None.

    Parameters
    ----------
    sent : Message
        The query; its one ArrayRecord is a parcel of the names and shapes that must come back.
    reply : Message
        What came back.
    client : int
        Which client the node said it is when the run began.
    most_examples : int
        More training samples than this no client can have.
    """
    if reply.has_error():
        return error_text(reply.error)
    (parcel,) = sent.content.array_records.values()
    problem = judge_parcels({IMPORTANCE: parcel[PARCEL]}, reply)
    if problem:
        return problem
    answer = reply.content.array_records[IMPORTANCE]
    problem = judge_values(answer[PARCEL])
    if problem:
        return f"the parcel {problem}"
    try:
        found = unpacked(answer)
    except ModelError as error:
        return str(error)
    wanted = unpacked(parcel)
    problem = judge_names(wanted, found)
    if problem:
        return problem
    for key, array in found.items():
        problem = judge_announced(wanted[key], array) or judge_values(array)
        if problem:
            return f"{key} {problem}"
        values = array.numpy()
        if values.size and not 0 <= values.min() <= values.max() <= LARGEST_IMPORTANCE:
            return f"{key} holds values outside 0 to {LARGEST_IMPORTANCE:g}"
    metrics = reply.content.metric_records.get(METRICS, MetricRecord())
    examples = metrics.get(NUM_EXAMPLES)
    if not isinstance(examples, int) or not 1 <= examples <= most_examples:
        return f"{NUM_EXAMPLES} is {examples!r}, not a whole number from 1 to {most_examples}"
    if metrics.get(CLIENT) != client:
        return f"the node now says that it is client {metrics.get(CLIENT)}"
    return _judge_echo(sent, metrics)


def cleaned(reply: Message) -> Message:
    """Shallow copy of a good reply with nothing in it that was not judged.

    Flower's strategies end the run if clients differ in the names of their metrics.
    """
    metrics = reply.content.metric_records[METRICS]
    kept = MetricRecord({key: metrics[key] for key in (NUM_EXAMPLES, LOSS)})
    clean = copy.copy(reply)
    clean.content = RecordDict({**reply.content.array_records, METRICS: kept})
    return clean


def examples_by_task(metrics: MetricRecord, tasks: Collection[str]) -> dict[str, int]:
    """How many examples of each task, which it has some of, a good reply was trained on."""
    counts = {task: metrics[TASK_EXAMPLES + task] for task in tasks}
    return {task: count for task, count in counts.items() if isinstance(count, int) and count > 0}


def _judge_change(wanted: ArrayRecord, found: ArrayRecord, noise: float) -> str | None:
    size = sum(math.prod(array.shape) for array in wanted.values())
    norm, limit = change_norm(wanted, found), LARGEST_CHANGE * math.sqrt(size)
    limit += _longest_noise(size, noise)
    if norm > limit:
        return f"the change has norm {norm:.3g}, more than {limit:.3g}"
    return None


def _longest_noise(size: int, noise: float) -> float:
    """Give a norm that Gaussian noise has less than once in 10^20 times."""
    return noise * (math.sqrt(size) + 10)


def judge_values(found: Array) -> str | None:
    """Unpack an array whose announcement has been judged; say what is wrong with it, or None."""
    shape, dtype = tuple(found.shape), found.dtype
    try:
        values = found.numpy()
    except Exception as error:  # whatever a stranger's bytes make NumPy raise
        return f"cannot be read ({error})"
    if values.shape != shape or str(values.dtype) != dtype:
        return f"announces {dtype} {shape} but holds {values.dtype} {values.shape}"
    if not np.isfinite(values).all():
        return "holds values that are not finite"
    return None


def _judge_echo(sent: Message, metrics: MetricRecord) -> str | None:
    """Say that a reply is about another stage or round than the one it was asked for."""
    settings = sent.content.config_records.get(CONFIG, ConfigRecord())
    for key in ECHOED:
        if key in settings and metrics.get(key) != settings[key]:
            return f"the reply is about {key} {metrics.get(key)!r}, not {settings[key]!r}"
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


def _judge_tasks(metrics: MetricRecord, tasks: Collection[str]) -> str | None:
    total = 0
    for task in tasks:
        count = metrics.get(TASK_EXAMPLES + task)
        if not isinstance(count, int) or count < 0:
            return f"{TASK_EXAMPLES}{task} is {count!r}, not a whole number of 0 or more"
        total += count
    if total != metrics[NUM_EXAMPLES]:
        return f"the tasks' examples add up to {total}, not to {metrics[NUM_EXAMPLES]}"
    return None
