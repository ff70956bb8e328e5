"""Two finished runs, or two groups of seeds, side by side: what differs, and whether it matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from fcit_app.errors import ConfigError, RunFolderError
from fcit_app.evaluate.metrics import Rule
from fcit_app.evaluate.noise import (
    Span,
    count_draws,
    excludes_zero,
    over_seeds,
    over_tasks,
    paired_draws,
    span_of,
)
from fcit_app.evaluate.predictions import PredictionFile
from fcit_app.runs import (
    RESUME,
    RunFolder,
    RunResult,
    config_differences,
    data_differences,
    environment_differences,
)
from fcit_app.runs.atomic import read_json
from fcit_app.runs.folder import PREDICTIONS

_ANSWERED_BY = (
    *("activation", "identity.temperature", "identity.open-world"),
    *("evaluate.routing", "data.test-samples"),
)
"""Settings of inference that decide answers."""

_SEED = 0
"""Of the resampling: the same runs always give the same intervals."""


@dataclass(frozen=True)
class Measured:
    """One quantity in both groups, in percent.

    Parameters
    ----------
    name : str
        ``Last``, ``Avg`` or a task (its accuracy after the last stage).
    a, b : tuple[float, ...]
        A number for each run.
    questions : Span or None
        95 % interval of B minus A over other test questions; None where it is not known.
    noise : Span or None
        The same over other seeds (of single runs: over tasks); None where it is not known.
    paired : bool
        Whether ``questions`` is from answers to the same questions.
    """

    name: str
    a: tuple[float, ...]
    b: tuple[float, ...]
    questions: Span | None
    noise: Span | None
    paired: bool

    @property
    def difference(self) -> float:
        """Mean of B minus mean of A, in points."""
        return float(np.mean(self.b) - np.mean(self.a))


@dataclass(frozen=True)
class Comparison:
    """What a comparison has found.

    Parameters
    ----------
    differences : tuple[str, ...]
        What is not the same in configuration, data and versions.
    notes : tuple[str, ...]
        What could not be read, and was done without.
    measured : tuple[Measured, ...]
        Last, Avg (if it applies), then the tasks.
    beyond_noise : bool
        Whether Last differs by more than noise.
    sentence : str
        The same in words, with what it rests on.
    """

    differences: tuple[str, ...]
    notes: tuple[str, ...]
    measured: tuple[Measured, ...]
    beyond_noise: bool
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        rows = [{**asdict(entry), "difference": entry.difference} for entry in self.measured]
        return {**asdict(self), "measured": rows}


def compare(a: Sequence[Path], b: Sequence[Path]) -> Comparison:
    """Compare runs with runs.

    Parameters
    ----------
    a, b : Sequence[Path]
        Finished run folders; several of a group are seeds of one setting.

    Raises
    ------
    RunFolderError
        If one is no finished run.
    ConfigError
        If a group holds different settings, or the groups have no task in common.
    """
    folders = [[RunFolder(path) for path in group] for group in (a, b)]
    _one_setting_each(folders)
    results = [[folder.read_result() for folder in group] for group in folders]
    finals = [[_final(result) for result in group] for group in results]
    tasks = [task for task in finals[0][0] if all(task in row for row in finals[0] + finals[1])]
    if not tasks:
        raise ConfigError("The runs have no scored task in common: nothing can be compared.")
    single = len(a) == len(b) == 1
    notes: list[str] = []
    answers = [_answers(group[0], notes) if single else {} for group in folders]
    generator = np.random.default_rng(_SEED)
    rows, drawn = [], []
    for task in tasks:
        values = [tuple(row[task] for row in group) for group in finals]
        paired = _paired(answers[0].get(task, {}), answers[1].get(task, {}))
        if paired:
            draws = paired_draws(paired, generator)
        elif _counted(results, task):
            # All seeds are asked the same questions: more runs make that noise no smaller.
            sides = [
                count_draws(float(np.mean(side)), min(map(_questions, group)), generator)
                for side, group in zip(values, folders, strict=True)
            ]
            draws = sides[1] - sides[0]
        else:
            draws = None
        drawn.append(draws)
        rows.append(_measured(task, values, draws, None, bool(paired)))
    gaps = [row.difference for row in rows]
    lasts = [tuple(float(np.mean([run[t] for t in tasks])) for run in group) for group in finals]
    # A caption score has no counts: its difference is taken as it is.
    centred = [np.full(1, gap) if d is None else d for d, gap in zip(drawn, gaps, strict=True)]
    whole = np.mean(np.broadcast_arrays(*centred), axis=0)
    known = whole if any(draws is not None for draws in drawn) else None
    last = _measured("Last", lasts, known, gaps, all(row.paired for row in rows))
    avgs = [tuple(r.avg for r in group if r.avg is not None) for group in results]
    complete = all(len(x) == len(g) for x, g in zip(avgs, results, strict=True))
    same = {tuple(r.tasks) for group in results for r in group} == {tuple(tasks)}
    avg = [_measured("Avg", avgs, None, None, False)] if complete and same else []
    beyond = excludes_zero(last.questions) and excludes_zero(last.noise)
    found = _differences(folders[0][0], folders[1][0])
    told = _sentence(last, beyond, rows, single)
    return Comparison(found, tuple(notes), (last, *avg, *rows), beyond, told)


def _measured(
    name: str,
    values: Sequence[tuple[float, ...]],
    draws: Any,
    gaps: Sequence[float] | None,
    paired: bool,
) -> Measured:
    a, b = values
    gap = float(np.mean(b) - np.mean(a))
    questions = None if draws is None else span_of(draws)
    if (
        questions and not paired
    ):  # Jeffreys' interval would leave out 0 and 100 percent, as Brown et al. note
        questions = min(gap, questions[0]), max(gap, questions[1])
    if len(a) > 1 or len(b) > 1:
        noise: Span | None = over_seeds(a, b, 0.0 if draws is None else float(np.var(draws)))
    else:
        noise = over_tasks(gaps) if gaps else None
    if noise:
        noise = max(-100.0, noise[0]), min(100.0, noise[1])
    return Measured(name, a, b, questions, noise, paired)


def _one_setting_each(groups: Sequence[Sequence[RunFolder]]) -> None:
    problems = []
    for group in groups:
        first = group[0].read_config()
        for other in group[1:]:
            mine = {**other.read_config(), "seed": first.get("seed")}
            problems += [
                f"{other.path} is no other seed of {group[0].path}: {found.what}."
                for found in config_differences(first, mine)
            ]
    if problems:
        raise ConfigError(problems)


def _final(result: RunResult) -> dict[str, float]:
    """Accuracy by task after the last stage; the base's own of a run that trains nothing."""
    row = result.accuracy[-1] if result.accuracy else result.zero_shot or []
    return dict(zip(result.tasks, row, strict=False))


def _questions(folder: RunFolder) -> int:
    """Test questions of a task: at most what the configuration says."""
    return int(folder.read_config().get("data.test-samples", 1))


def _counted(results: Sequence[Sequence[RunResult]], task: str) -> bool:
    """Whether a task's accuracy is a share of right answers, and no caption score."""
    metrics = [(r.metrics or {}).get(task, "exact") for group in results for r in group]
    return all(metric in get_args(Rule) for metric in metrics)


def _answers(folder: RunFolder, notes: list[str]) -> dict[str, dict[tuple[str, str], float]]:
    """By task and question 1 for a right answer, where the run keeps those of its last stage."""
    config = folder.read_config()
    scoring = str(config.get("evaluate.scoring", "paper"))
    found: dict[str, dict[tuple[str, str], float]] = {}
    for path in _answer_files(folder, config)[:1]:
        try:
            answers = PredictionFile(path).read()
        except RunFolderError as error:
            notes.append(f"Answers are left aside: {error}")
            continue
        for said in answers:
            if said.right is not None:
                key = said.identifier, said.question
                found.setdefault(said.task, {})[key] = float(said.right[scoring])
    return found


def _answer_files(folder: RunFolder, config: Mapping[str, Any]) -> list[Path]:
    """Files of answers of the last bank as the run would give them, the run's own first."""
    stages = len(folder.read_result().accuracy or ())
    own = folder.path / PREDICTIONS / f"stage-{stages:02d}.jsonl"
    files = [own] if own.is_file() else []
    for path in sorted((folder.path / "evaluation").glob("*/setting.json")):
        setting = read_json(path)
        place = setting.get("split"), setting.get("stage"), setting.get("round")
        same = all(setting.get("config", {}).get(key) == config.get(key) for key in _ANSWERED_BY)
        if same and place == ("test", stages, config.get("rounds")):
            files.append(path.with_name("predictions.jsonl"))
    return files


def _paired(a: Mapping[Any, float], b: Mapping[Any, float]) -> list[float]:
    """Differences over the questions of a task; none unless both were asked the very same."""
    return [b[key] - a[key] for key in a] if a.keys() == b.keys() else []


def _differences(a: RunFolder, b: RunFolder) -> tuple[str, ...]:
    found = config_differences(a.read_config(), b.read_config())
    if all((run.path / "environment.json").is_file() for run in (a, b)):
        found += environment_differences(a.read_environment(), b.read_environment())
    if a.has_state and b.has_state:
        data = [run.read_state().meta.get(RESUME, {}).get("data", {}) for run in (a, b)]
        found += data_differences(*data)
    return tuple(entry.what for entry in found)


def _sentence(last: Measured, beyond: bool, rows: Sequence[Measured], single: bool) -> str:
    gap = (
        f"Last is {abs(last.difference):.1f} points {'higher' if last.difference > 0 else 'lower'}"
    )
    verdict = "different: " if beyond else "no difference: "
    how = "more than noise" if beyond else "not more than noise"
    if not single:
        runs = f"{len(last.a)} and {len(last.b)} runs"
        return f"{verdict}{gap} in B, {how} of seeds and test questions ({runs})."
    paired = sum(row.paired for row in rows)
    basis = (
        f"answers to the same questions in {paired} of {len(rows)} tasks"
        if paired
        else "counts alone, for no answers to the same questions are kept"
    )
    tasks = "" if last.noise is None else " and of the scatter over tasks"
    return (
        f"{verdict}{gap} in B, {how} of the test questions{tasks}; from {basis}. One run a side "
        "says nothing sure of other seeds: give groups (--a, --b) for that."
    )
