"""What a run shows beyond its result: transfer, activation and general ability, stage by stage."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from fcit_app.evaluate.activation_summary import normalised_entropy, routing_accuracy
from fcit_app.evaluate.evaluator import TaskScore
from fcit_app.evaluate.general import SkillScores
from fcit_app.evaluate.transfer import forward_transfer, zero_shot_transfer
from fcit_app.runs.analysis import GeneralAbility, RunAnalysis, StageAnalysis, TaskActivation

Trained = Mapping[int, Collection[str]]
"""Identifier of a subspace to the tasks on whose samples it was trained."""


class Analysis:
    """Collects what is measured after each stage.

    Parameters
    ----------
    tasks : Sequence[str]
        The run's, in the order in which they are first learned.
    unseen : Sequence[str]
        Tasks it never trains, which are asked all the same.
    zero_shot : Sequence[float]
        The base's accuracy on both, in percent.
    general : SkillScores, GeneralAbility or None
        The base's skills before the first stage.
    stages : Sequence[StageAnalysis]
        What an interrupted run has measured already.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        unseen: Sequence[str],
        zero_shot: Sequence[float],
        general: SkillScores | GeneralAbility | None,
        stages: Sequence[StageAnalysis] = (),
    ) -> None:
        self._tasks = list(tasks)
        self._unseen = list(unseen)
        self._zero_shot = dict(zip([*tasks, *unseen], zero_shot, strict=True))
        self._general = _ability(general) if isinstance(general, SkillScores) else general
        self._stages = list(stages)

    @classmethod
    def restored(cls, found: RunAnalysis) -> Analysis:
        """Go on with an analysis that was saved."""
        return cls(found.tasks, found.unseen, found.zero_shot, found.general, found.stages)

    def add(
        self,
        scores: Sequence[TaskScore],
        seen: int,
        subspaces: Sequence[int],
        trained: Trained,
        general: SkillScores | None,
    ) -> None:
        """Take in the evaluation after one more stage.

        Parameters
        ----------
        scores : Sequence[TaskScore]
            Of the tasks asked, the ``seen`` first ones in any case.
        seen : int
            How many of the run's tasks have been learned.
        subspaces : Sequence[int]
            Identifiers of the bank's subspaces, in its order.
        trained : Trained
            What each of them was trained on so far.
        general : SkillScores or None
            The base's skills now, if they were measured.
        """
        accuracy = {found.task: found.accuracy for found in scores}
        asked = [found.task for found in scores]
        unlearned, gain = zero_shot_transfer(
            [accuracy[task] for task in asked], [self._zero_shot[task] for task in asked], seen
        )
        rows = [row for found in scores if (row := _activation(found, subspaces, trained))]
        of_seen = rows[:seen]
        self._stages.append(
            StageAnalysis(
                stage=len(self._stages) + 1,
                seen=seen,
                accuracy=[accuracy.get(task) for task in self._tasks],
                unseen_accuracy=[accuracy[task] for task in self._unseen],
                transfer_accuracy=unlearned,
                transfer_gain=gain,
                subspaces=list(subspaces) if rows else None,
                activation=rows or None,
                routing_accuracy=_mean([row.routing_accuracy for row in of_seen]),
                entropy=_mean([row.entropy for row in of_seen]),
                normalised_entropy=_mean([row.normalised_entropy for row in of_seen]),
                general=_ability(general),
                parts={entry.task: dict(entry.parts) for entry in scores if entry.parts} or None,
            )
        )

    def result(self) -> RunAnalysis:
        """Give everything so far."""
        return RunAnalysis(
            tasks=self._tasks,
            unseen=self._unseen,
            zero_shot=list(self._zero_shot.values()),
            general=self._general,
            forward_transfer=self._forward_transfer(),
            stages=self._stages,
        )

    def _forward_transfer(self) -> float | None:
        """Transfer to the tasks learned so far; None unless later tasks are asked after a stage."""
        if not self._stages:
            return None
        seen = [stage.seen for stage in self._stages]
        known = [[v for v in s.accuracy[: seen[-1]] if v is not None] for s in self._stages]
        if any(len(row) < seen[-1] for row in known):
            return None
        return forward_transfer(known, list(self._zero_shot.values()), seen)


def _activation(
    found: TaskScore, subspaces: Sequence[int], trained: Trained
) -> TaskActivation | None:
    if found.activation is None:
        return None
    own = [i for i, subspace in enumerate(subspaces) if found.task in trained.get(subspace, ())]
    strongest, entropy = found.activation.strongest, found.activation.entropy
    return TaskActivation(
        task=found.task,
        weights=list(found.activation.weights),
        strongest=None if strongest is None else list(strongest),
        routing_accuracy=routing_accuracy(strongest, own),
        entropy=entropy,
        normalised_entropy=normalised_entropy(entropy, len(subspaces)),
    )


def _ability(scores: SkillScores | None) -> GeneralAbility | None:
    if scores is None:
        return None
    mean = sum(scores.skills.values()) / len(scores.skills)
    return GeneralAbility(
        short=scores.short, sentences=scores.sentences, mean=mean, skills=scores.skills
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of what there is; None if there is nothing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
