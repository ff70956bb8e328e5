"""What server and client tell each other of a shard, as JSON texts that are checked when read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from fcit_app.errors import DataError
from fcit_app.evaluate.predictions import Prediction
from fcit_app.evaluate.scoring import Scoring
from fcit_app.evaluate.shard import TaskTally, tally


@dataclass(frozen=True)
class ShardOrder:
    """What a client is asked to answer.

    Parameters
    ----------
    batches : Mapping[str, Sequence[Sequence[int]]]
        Task to the batches of its test samples, each as their places.
    digests : Mapping[str, str]
        Task to ``samples_digest`` of all its test samples.
    said : Sequence[str]
        Tasks of which the answers themselves are wanted, beside counts and sums.
    """

    batches: Mapping[str, Sequence[Sequence[int]]]
    digests: Mapping[str, str]
    said: Sequence[str]


@dataclass(frozen=True)
class Said:
    """An answer; the question and what is right are known to whoever asked.

    Parameters
    ----------
    answer, weights
        See ``Prediction``.
    """

    answer: str
    weights: Mapping[str, float] | None


@dataclass(frozen=True)
class ShardReport:
    """What a client tells of its answers.

    Parameters
    ----------
    tallies : Mapping[str, TaskTally]
        Task to its counts and sums.
    said : Mapping[str, Sequence[Said]]
        Task, of those where they are wanted, to its answers in the order of the batches' places.
    """

    tallies: Mapping[str, TaskTally]
    said: Mapping[str, Sequence[Said]]


_T = TypeVar("_T")
_ORDER = TypeAdapter(ShardOrder)
_REPORT = TypeAdapter(ShardReport)


def write_order(order: ShardOrder) -> str:
    """Text of an order."""
    return _ORDER.dump_json(order).decode()


def read_order(text: object) -> ShardOrder:
    """Read an order back; raises ``DataError`` if it is none."""
    return _read(_ORDER, text)


def write_report(report: ShardReport) -> str:
    """Text of a report; sums are whole numbers of any size, so nothing is lost."""
    return _REPORT.dump_json(report).decode()


def read_report(text: object) -> ShardReport:
    """Read a report back; raises ``DataError`` if it is none."""
    return _read(_REPORT, text)


def report_of(
    predictions: Mapping[str, Sequence[Prediction]], order: ShardOrder, scoring: Scoring
) -> ShardReport:
    """Make the report on the predictions of a shard, by task."""
    tallies = {task: tally(entries, scoring) for task, entries in predictions.items()}
    said = {
        task: [Said(entry.answer, entry.weights) for entry in predictions[task]]
        for task in order.said
    }
    return ShardReport(tallies, said)


def _read(adapter: TypeAdapter[_T], text: object) -> _T:
    if not isinstance(text, str):
        raise DataError(f"it holds {type(text).__name__} where a text belongs")
    try:
        return adapter.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "as a whole"
        raise DataError(f"its text does not fit the schema: {where}: {first['msg']}") from error
