"""``result.json``: the contract for everything that reads results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from fcit_app.config.schema import RunConfig
from fcit_app.errors import RunFolderError
from fcit_app.runs.atomic import read_json
from fcit_app.runs.strict import Strict

Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Points = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class SubspaceSummary(Strict):
    """Where a subspace came from: samples per task, their sum, the stage that opened it."""

    id: int = Field(ge=0)
    task_counts: dict[str, int]
    samples: int = Field(ge=0)
    first_stage: int = Field(ge=1)


class PhaseSeconds(Strict):
    """Wall-clock seconds per phase."""

    train: Seconds | None
    aggregate: Seconds | None
    evaluate: Seconds | None
    total: Seconds | None


class TrafficBytes(Strict):
    """Bytes from the clients (``up``) and to them (``down``)."""

    up: int | None
    down: int | None


class NoiseFacts(Strict):
    """What noise was worth: hidden is what, at which noise, and what it cost each client.

    ``noise``: multiple of what can be changed, which ``clip`` bounds. ``releases`` and ``epsilons``
    by client (as text): how often noised arrays of the same data came, and the ε at ``delta`` of
    all of them together; ``epsilon`` is the largest.
    """

    hidden: str
    mechanism: str
    clip: float = Field(gt=0)
    noise: float = Field(gt=0)
    delta: float = Field(gt=0, lt=1)
    epsilon: float = Field(ge=0)
    releases: dict[str, int]
    epsilons: dict[str, float]


class PrivacyFacts(Strict):
    """Noise of identity tokens and of trained arrays; null for what was sent without."""

    tokens: NoiseFacts | None
    updates: NoiseFacts | None


class RunResult(Strict):
    """The outcome of a run; what did not apply is null, never missing.

    ``accuracy``: percent, a row per evaluated stage, a column per task seen so far. ``last``: mean
    of its last row. ``avg``: mean over rows of the row means. ``zero_shot``: percent per task.
    ``metrics``: what the accuracy of each task is; null in results from before it was told.
    ``forgotten``: subspaces that were taken out after the run (``fcit forget``), null if none was.
    ``privacy``: null without noise.
    """

    method: str
    aggregator: str | None
    setting: str
    scenario: str | None
    beta: float | None
    seed: int
    tasks: list[str] = Field(min_length=1)
    accuracy: list[list[Percent]] | None
    last: Percent | None
    avg: Percent | None
    backward_transfer: Points | None
    forgetting: Points | None
    zero_shot: list[Percent] | None
    subspaces: list[SubspaceSummary] | None
    seconds: PhaseSeconds
    bytes: TrafficBytes
    metrics: dict[str, str] | None = None
    forgotten: list[int] | None = None
    privacy: PrivacyFacts | None = None

    @model_validator(mode="after")
    def _rows_fit_tasks(self) -> RunResult:
        lengths = [len(row) for row in self.accuracy or []]
        if lengths != sorted(lengths) or (lengths and not 0 < lengths[0] <= lengths[-1]):
            raise ValueError(f"rows of accuracy shrink or are empty: lengths {lengths}")
        for name, row in (("accuracy", lengths[-1:]), ("zero_shot", [len(self.zero_shot or [])])):
            if row and row[0] > len(self.tasks):
                raise ValueError(f"{name} has {row[0]} columns for {len(self.tasks)} tasks")
        return self


def make_result(
    config: RunConfig,
    *,
    tasks: Sequence[str],
    accuracy: Sequence[Sequence[float]] | None = None,
    last: float | None = None,
    avg: float | None = None,
    backward_transfer: float | None = None,
    forgetting: float | None = None,
    zero_shot: Sequence[float] | None = None,
    subspaces: Sequence[Mapping[str, Any]] | None = None,
    seconds: Mapping[str, float] | None = None,
    traffic: Mapping[str, int] | None = None,
    metrics: Mapping[str, str] | None = None,
    privacy: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Build the content of ``result.json``; what is left out becomes null.

    Parameters
    ----------
    config : RunConfig
        Gives method, aggregator, setting, scenario (of a file its name), beta and seed. The
        aggregator, scenario and beta are null for a method without a federation.
    tasks : Sequence[str]
        Columns of the accuracy matrix: the tasks in the order in which they are first met.
    accuracy, last, avg, backward_transfer, forgetting, zero_shot
        Percent, see ``RunResult``.
    subspaces : sequence of mappings, optional
        ``id``, ``task_counts``, ``samples``, ``first_stage`` each.
    seconds : mapping, optional
        Some of ``train``, ``aggregate``, ``evaluate``, ``total``.
    traffic : mapping, optional
        ``up`` and ``down``, bytes.
    metrics : mapping, optional
        Task to the name of its metric.
    privacy : mapping, optional
        See ``PrivacyFacts``.

    Raises
    ------
    RunFolderError
        If a value does not fit the schema.
    """
    phases = dict.fromkeys(PhaseSeconds.model_fields) | dict(seconds or {})
    federated = config.federated
    content = {
        "method": config.method,
        "aggregator": config.aggregator if federated else None,
        "setting": config.setting,
        "scenario": Path(config.scenario).name if federated else None,
        "beta": config.beta if federated else None,
        "seed": config.seed,
        "tasks": list(tasks),
        "accuracy": None if accuracy is None else [list(row) for row in accuracy],
        "last": last,
        "avg": avg,
        "backward_transfer": backward_transfer,
        "forgetting": forgetting,
        "zero_shot": None if zero_shot is None else list(zero_shot),
        "subspaces": None if subspaces is None else [dict(entry) for entry in subspaces],
        "seconds": phases,
        "bytes": dict.fromkeys(TrafficBytes.model_fields) | dict(traffic or {}),
        "metrics": None if metrics is None else dict(metrics),
        "privacy": None if privacy is None else dict(privacy),
    }
    return RunResult.check(content).model_dump()


def read_result(path: Path | str) -> RunResult:
    """Read and check a result.

    Parameters
    ----------
    path : Path or str
        A run folder, or its ``result.json``.

    Raises
    ------
    RunFolderError
        If it is missing, no JSON, or does not fit the schema.
    """
    file = Path(path)
    file = file / "result.json" if file.is_dir() else file
    if not file.is_file():
        raise RunFolderError(f"There is no result at {file}: the run has not finished.")
    return RunResult.check(read_json(file), str(file))
