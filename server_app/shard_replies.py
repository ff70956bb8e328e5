"""The guard of evaluation: what a client tells of its shard is judged before it counts."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from flwr.app import ConfigRecord, Message, MetricRecord

from fcit_app.errors import DataError
from fcit_app.evaluate.activation_summary import UNIT, ActivationTally
from fcit_app.evaluate.shard import TaskTally
from fcit_app.evaluate.shard_message import ShardReport, read_report
from strategies.records import CLIENT, METRICS
from strategies.replies import error_text

REPORT = "report"
"""Record, and its only key, that holds the text of a client's report."""

_ROUNDING = 1e-3  # of float32 weights that should sum to 1


def read_shard(
    reply: Message,
    client: int,
    asked: Mapping[str, Sequence[int]],
    subspaces: int | None,
    wanted: Collection[str],
) -> ShardReport:
    """Read a client's report.

    Parameters
    ----------
    reply : Message
        What came back.
    client : int
        Which client the node said it is when the run began.
    asked : Mapping[str, Sequence[int]]
        Task to the places of the samples asked.
    subspaces : int or None
        How many subspaces the questions choose among; None if nothing is routed.
    wanted : Collection[str]
        Tasks of which the answers themselves were asked for.

    Raises
    ------
    DataError
        With the reason not to use it: an error, another client, other tasks, counts that are not
        those of the shard, or sums that no weights have.
    """
    if reply.has_error():
        raise DataError(error_text(reply.error))
    metrics = reply.content.metric_records.get(METRICS, MetricRecord())
    if metrics.get(CLIENT) != client:
        raise DataError(f"the node now says that it is client {metrics.get(CLIENT)}")
    record = reply.content.config_records.get(REPORT, ConfigRecord())
    report = read_report(record.get(REPORT))
    if set(report.tallies) != set(asked):
        raise DataError(f"it tells of {sorted(report.tallies)}, asked were {sorted(asked)}")
    for task, places in asked.items():
        problem = _judge(report.tallies[task], len(places), subspaces)
        if problem:
            raise DataError(f"{task}: {problem}")
    answers = {task: len(said) for task, said in report.said.items()}
    if answers != {task: len(asked[task]) for task in wanted}:
        raise DataError(f"answers to {answers} questions, asked were those of {sorted(wanted)}")
    return report


def _judge(tally: TaskTally, questions: int, subspaces: int | None) -> str | None:
    if tally.questions != questions:
        return f"{tally.questions} questions instead of {questions}"
    if not 0 <= tally.right <= questions:
        return f"{tally.right} right answers to {questions} questions"
    if (tally.activation is None) != (subspaces is None):
        return "activation weights where nothing is routed, or none where something is"
    if tally.activation is None or subspaces is None:
        return None
    return _judge_activation(tally.activation, questions, subspaces)


def _judge_activation(tally: ActivationTally, questions: int, subspaces: int) -> str | None:
    if tally.questions != questions:
        return f"weights of {tally.questions} questions instead of {questions}"
    if not len(tally.weights) == len(tally.strongest) == subspaces:
        return f"weights of {len(tally.weights)} subspaces instead of {subspaces}"
    if min(tally.strongest) < 0 or sum(tally.strongest) != questions:
        return f"strongest subspaces {list(tally.strongest)} of {questions} questions"
    # Every weight is at most 1, of `cosine` at least -1, and an entropy at most ln N.
    most = math.ceil(questions * (1 + _ROUNDING)) * UNIT
    if max(map(abs, tally.weights)) > most:
        return "a sum of weights that is larger than the number of questions"
    limit = math.ceil(questions * (math.log(subspaces) + _ROUNDING)) * UNIT
    if tally.entropy is not None and not -UNIT <= tally.entropy <= limit:
        return f"an entropy that weights over {subspaces} subspaces cannot have"
    return None
