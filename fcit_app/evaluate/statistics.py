"""From answers to a task's score, in two steps: statistics that add up, and a last function.

``measure`` makes the statistics of some answers, ``+`` puts those of several shards together, and
``final`` makes the score of all. However the answers were divided, the score is the same to the
last bit: counts are whole numbers, and captions are put in one order first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, get_args

from fcit_app.data.load import Benchmark
from fcit_app.data.sample import Sample
from fcit_app.errors import DataError
from fcit_app.evaluate.captions import Caption, caption_metric, require_scorers, score_captions
from fcit_app.evaluate.metrics import Rule, score
from fcit_app.evaluate.scoring import SCORINGS, Scoring, rule_of


@dataclass(frozen=True)
class Statistics:
    """What is left of some answers to one task until they are scored.

    Parameters
    ----------
    metric : str
        ``exact``, ``box``, ``substring``, ``cut-box`` (see ``metrics.score``) or ``captions``.
    questions : int
        How many were asked.
    right : int
        How many answers are right; 0 for captions, none of which is right or wrong.
    captions : tuple[Caption, ...]
        The answers themselves, for ``captions`` only. No smaller statistic would do: CIDEr weighs
        an n-gram by the share of *all* pictures that have it in a reference, and BLEU and METEOR
        are scores of the corpus, not means over it. So shards have to send their answers.
    """

    metric: str
    questions: int
    right: int
    captions: tuple[Caption, ...] = ()

    def __add__(self, other: Self) -> Statistics:
        """Statistics of both parts.

        Raises
        ------
        DataError
            If the parts were measured by different metrics.
        """
        if self.metric != other.metric:
            raise DataError(
                f"Answers measured by '{self.metric}' and by '{other.metric}' cannot be scored "
                "together: they are of different tasks, or of different evaluate.scoring."
            )
        return Statistics(
            self.metric,
            self.questions + other.questions,
            self.right + other.right,
            self.captions + other.captions,
        )


@dataclass(frozen=True)
class Score:
    """How good some answers to one task are.

    Parameters
    ----------
    percent : float
        From 0 to 100.
    metric : str
        What was computed; of captions also from which scores, and by which tokeniser.
    parts : Mapping[str, float]
        The scores whose mean it is, each times 100 (CIDEr may be above 100); empty for shares of
        right answers.
    """

    percent: float
    metric: str
    parts: Mapping[str, float] = field(default_factory=dict)


def measure(
    samples: Sequence[Sample], answers: Sequence[str], scoring: Scoring = "paper"
) -> Statistics:
    """Measure answers to one task's samples.

    Parameters
    ----------
    samples : Sequence[Sample]
        At least one. Those with ``references`` are scored as captions, as both readings do.
    answers : Sequence[str]
        One a sample; an empty one stands for none, and scores nothing (but for ``substring``).
    scoring : {"paper", "official"}
        See ``scoring.rule_of``.

    Raises
    ------
    DataError
        If a reference is malformed, or the samples are of several metrics.
    """
    metrics = {metric_of(sample, scoring) for sample in samples}
    if len(metrics) != 1:
        raise DataError(
            f"{len(samples)} samples of the metrics {sorted(metrics)} cannot be scored together; "
            "score one or more samples of one task."
        )
    (metric,) = metrics
    pairs = list(zip(samples, answers, strict=True))
    if metric == "captions":
        captions = tuple(Caption(s.identifier, said, s.references) for s, said in pairs)
        return Statistics(metric, len(captions), 0, captions)
    right = sum(_is_right(sample, said, scoring) for sample, said in pairs)
    return Statistics(metric, len(pairs), right)


def metric_of(sample: Sample, scoring: Scoring) -> str:
    """Name of the metric that a sample's answer is part of, see ``Statistics``."""
    return "captions" if sample.references else rule_of(sample.task, scoring)


def name_metrics(benchmark: Benchmark, tasks: Sequence[str], scoring: Scoring) -> dict[str, str]:
    """Name the metric of each task's test samples, as ``Score.metric`` does on this machine.

    Raises
    ------
    DataError
        If samples cannot be read, or captions are to be scored and their scorers are missing.
    """
    found = {}
    for task in tasks:
        found[task] = metric_of(benchmark.test_samples(task)[0], scoring)
        if found[task] == "captions":
            require_scorers()
            found[task] = caption_metric()
    return found


def caption_facts(metrics: Mapping[str, str]) -> dict[str, str]:
    """Give how captions are scored, by a name to compare it with what a run that goes on had."""
    return {
        f"{task} (how captions are scored, with Java or without)": metric
        for task, metric in metrics.items()
        if metric not in get_args(Rule)
    }


def judge(sample: Sample, answer: str) -> dict[str, bool] | None:
    """Judge one answer by every scoring; None for a caption, which is not right or wrong."""
    if sample.references:
        return None
    return {scoring: _is_right(sample, answer, scoring) for scoring in SCORINGS}


def _is_right(sample: Sample, answer: str, scoring: Scoring) -> bool:
    return score(rule_of(sample.task, scoring), answer, sample.answer)


def final(statistics: Statistics) -> Score:
    """Make the score of all of a task's answers.

    The mean of caption scores is at most 100 by convention: CIDEr by itself goes to 1000, so the
    mean could be more on a few short captions; ``parts`` are as they are.

    Raises
    ------
    DataError
        If captions cannot be scored, see ``score_captions``.
    """
    if statistics.metric != "captions":
        return Score(100.0 * statistics.right / statistics.questions, statistics.metric)
    found = score_captions(statistics.captions)
    return Score(min(100.0, found.mean), found.metric, found.parts)
