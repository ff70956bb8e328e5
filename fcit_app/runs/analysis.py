"""``analysis.json``: what a run shows beyond its result; rewritten after each stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from fcit_app.runs.atomic import read_json
from fcit_app.runs.result import Percent, Points
from fcit_app.runs.strict import Strict

FILE = "analysis.json"

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Nats = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Score = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(allow_inf_nan=False)]


class TaskActivation(Strict):
    """How the test questions of one task activate the bank's subspaces.

    ``weights``: mean weight of each subspace. ``strongest``: share of the questions of which it is
    the strongest; null where all weigh the same. ``routing_accuracy``: percentage of the questions
    whose strongest subspace was trained on samples of the task; null if none was. ``entropy``: mean
    entropy of a question's weights in nats, ``normalised_entropy`` the same over ln of the number
    of subspaces; null where weights are no distribution, or there is a single subspace.
    """

    task: str
    weights: list[Weight] = Field(min_length=1)
    strongest: list[Share] | None
    routing_accuracy: Percent | None
    entropy: Nats | None
    normalised_entropy: Share | None


class GeneralAbility(Strict):
    """Percentage of right answers to held-out questions of the base's own skills.

    ``short``: to prompts that say how the short answer is to be written. ``sentences``: to those
    without such a tag, which the base answers by a sentence. ``mean``: over the ``skills``, each
    taken over both forms.
    """

    short: Percent
    sentences: Percent
    mean: Percent
    skills: dict[str, Percent] = Field(min_length=1)


class StageAnalysis(Strict):
    """What one evaluation showed.

    ``stage``: counts from 1. ``seen``: how many of the run's tasks had been trained. ``accuracy``:
    a column per task of the run, null where the task was not asked. ``unseen_accuracy``: a column
    per task that the run never trains. ``transfer_accuracy``: mean over all tasks asked but not
    trained by then; ``transfer_gain``: how much that is above the base's zero-shot accuracy.
    ``subspaces``: their identifiers, in the order of all weights. ``activation``: a row per task
    asked. ``routing_accuracy``, ``entropy``, ``normalised_entropy``: means over the tasks seen.
    ``parts``: of a task whose accuracy is a mean of scores (captions) these scores, times 100.
    """

    stage: int = Field(ge=1)
    seen: int = Field(ge=1)
    accuracy: list[Percent | None]
    unseen_accuracy: list[Percent]
    transfer_accuracy: Percent | None
    transfer_gain: Points | None
    subspaces: list[int] | None
    activation: list[TaskActivation] | None
    routing_accuracy: Percent | None
    entropy: Nats | None
    normalised_entropy: Share | None
    general: GeneralAbility | None
    parts: dict[str, dict[str, Score]] | None = None


class RunAnalysis(Strict):
    """Transfer, activation and general ability of a run; what does not apply is null.

    ``tasks``: the run's, in the order in which they are first learned. ``unseen``: tasks it never
    trains. ``zero_shot``: the base's percent on ``tasks``, then on ``unseen``. ``general``: the
    base's own skills before the first stage. ``forward_transfer``: see ``evaluate.transfer``.
    """

    tasks: list[str] = Field(min_length=1)
    unseen: list[str]
    zero_shot: list[Percent]
    general: GeneralAbility | None
    forward_transfer: Points | None
    stages: list[StageAnalysis]

    @model_validator(mode="after")
    def _columns_fit(self) -> RunAnalysis:
        if len(self.zero_shot) != len(self.tasks) + len(self.unseen):
            raise ValueError("zero_shot needs a number for each of tasks and unseen")
        for entry in self.stages:
            if len(entry.accuracy) != len(self.tasks):
                raise ValueError(f"stage {entry.stage}: accuracy needs a column for each task")
            if len(entry.unseen_accuracy) != len(self.unseen):
                raise ValueError(f"stage {entry.stage}: unseen_accuracy needs a column for each")
            if entry.seen > len(self.tasks) or None in entry.accuracy[: entry.seen]:
                raise ValueError(f"stage {entry.stage}: a task that was seen has no accuracy")
            if (entry.subspaces is None) != (entry.activation is None):
                raise ValueError(f"stage {entry.stage}: activation needs the subspaces' names")
            count = len(entry.subspaces or [])
            for row in entry.activation or []:
                if any(
                    len(shares) != count for shares in (row.weights, row.strongest or row.weights)
                ):
                    raise ValueError(f"stage {entry.stage}: {row.task} needs {count} weights")
        return self


def read_analysis(folder: Path | str) -> RunAnalysis | None:
    """Read and check a run's analysis; None if it has none, as the reference methods.

    Raises
    ------
    RunFolderError
        If the file is no JSON, or does not fit the schema.
    """
    file = Path(folder) / FILE
    return RunAnalysis.check(read_json(file), str(file)) if file.is_file() else None
