"""A run without one of its subspaces, in a folder of its own, scored again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from fcit_app.errors import ConfigError
from fcit_app.evaluate.evaluation import Told, evaluate_saved
from fcit_app.evaluate.matrix import last
from fcit_app.evaluate.saved_run import SavedRun, open_saved_run
from fcit_app.export.provenance import origins
from fcit_app.model.bank import Bank, Subspace
from fcit_app.runs import RunFolder, RunResult, check_free, read_result, writing

FORGOTTEN = "subspace-forgotten"
"""Event in the new run's ledger."""


@dataclass(frozen=True)
class Forgotten:
    """A run without a subspace.

    Parameters
    ----------
    folder : Path
        The new run folder.
    before, after : dict[str, float]
        Accuracy by task in percent, in the run and without the subspace.
    remains : tuple[str, ...]
        Where traces of the subspace's samples may still be.
    """

    folder: Path
    before: dict[str, float]
    after: dict[str, float]
    remains: tuple[str, ...]


def forget_subspace(
    run: SavedRun,
    identifier: int,
    out: Path,
    processes: int = 1,
    told: Told = lambda done, total: None,
) -> Forgotten:
    """Leave out a subspace and its token; the run itself is not touched.

    The new result holds one row of accuracy, that of the new bank; Avg and what else compares
    stages are null, since the stages were another bank's.

    Parameters
    ----------
    run : SavedRun
        A finished run of two subspaces or more.
    identifier : int
        Of the subspace.
    out : Path
        The new run folder: missing or empty.
    processes, told
        See ``fcit_app.evaluate.evaluation.evaluate_saved``.

    Raises
    ------
    FcitError
        If the run has not finished, has no such subspace or no other, or ``out`` is taken.
    """
    result = read_result(run.path)
    kept = tuple(s for s in run.bank.subspaces if s.identifier != identifier)
    if len(kept) == len(run.bank.subspaces):
        allowed = ", ".join(str(s.identifier) for s in run.bank.subspaces)
        raise ConfigError(f"--subspace: the run has no subspace {identifier}; allowed: {allowed}.")
    if not kept:
        raise ConfigError(
            f"--subspace: {identifier} is the run's only subspace; without it nothing is left but "
            "the base. Delete the run instead."
        )
    remains = what_remains(run, result, identifier)
    check_free(out)
    folder = _copy(run, identifier, kept, out.resolve(), remains)
    try:
        new = open_saved_run(folder.path)
        place = folder.path / "evaluation"
        (scores,) = evaluate_saved(
            new, result.tasks, "test", (new.config.activation,), place, processes, told
        )
        row = [score.accuracy for score in scores.scores]
        folder.write_result(_marked(result, row, identifier).model_dump())
    except BaseException:
        shutil.rmtree(folder.path)  # ours alone: it was made above
        raise
    before = dict(zip(result.tasks, (result.accuracy or [[]])[-1], strict=False))
    return Forgotten(folder.path, before, dict(zip(result.tasks, row, strict=True)), remains)


def what_remains(run: SavedRun, result: RunResult, identifier: int) -> tuple[str, ...]:
    """Say where traces of a subspace's samples may be left once it is gone."""
    counts = {entry.id: entry.task_counts for entry in result.subspaces or ()}
    found = []
    if run.bank.projector is not None:
        stages = origins(run.path)[identifier].stages if identifier in origins(run.path) else ()
        when = f" in stage {', '.join(map(str, stages))}" if stages else ""
        found.append(
            f"The shared projector was trained with this subspace's samples{when}, and every "
            "subspace trained later has learned beside it. Neither can be taken back."
        )
    others = {
        task: [number for number in counts if number != identifier and task in counts[number]]
        for task in counts.get(identifier, {})
    }
    found += [
        f"Samples of {task} also trained subspace {', '.join(map(str, numbers))}."
        for task, numbers in others.items()
        if numbers
    ]
    found.append(
        f"The run in {run.path}, its exports, and whatever clients have kept still hold the "
        "subspace."
    )
    return tuple(found)


def _copy(
    run: SavedRun, identifier: int, kept: tuple[Subspace, ...], out: Path, remains: tuple[str, ...]
) -> RunFolder:
    """Make the new run's folder, but for its result."""
    old = RunFolder(run.path)
    _, meta = old.load_state()
    arrays, facts = Bank(kept, run.bank.projector).to_arrays()
    folder = RunFolder.create(out, old.read_config() | {"out": str(out)}, old.read_environment())
    with writing(out):
        shutil.copyfile(old.ledger.path, folder.ledger.path)
    folder.ledger.cut_torn_line()
    folder.ledger.record(
        FORGOTTEN, subspace=identifier, run=str(run.path), bank=run.digest, remains=list(remains)
    )
    folder.save_state(arrays, meta | {"bank": facts})
    return folder


def _marked(result: RunResult, row: list[float], identifier: int) -> RunResult:
    return result.model_copy(
        update={
            "accuracy": [row],
            "last": last([row]),
            "avg": None,
            "backward_transfer": None,
            "forgetting": None,
            "subspaces": [s for s in result.subspaces or () if s.id != identifier],
            "forgotten": [*(result.forgotten or ()), identifier],
        }
    )
