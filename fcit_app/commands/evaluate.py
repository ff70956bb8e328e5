"""`fcit evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from fcit_app.commands.terminal import counting, output
from fcit_app.errors import ConfigError

if TYPE_CHECKING:
    from fcit_app.config import Scalar
    from fcit_app.data.load import Split
    from fcit_app.evaluate.evaluation import BankScores
    from fcit_app.evaluate.saved_run import SavedRun
    from fcit_app.evaluate.scoring import Scoring
    from fcit_app.model.activation import Activation


def evaluate(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, finished or not.")],
    tasks: Annotated[
        str, typer.Option(help="Such as figureqa,dvqa; by default those the run has learned.")
    ] = "",
    split: Annotated[
        str, typer.Option(help="test, or validation (for choosing settings).")
    ] = "test",
    activation: Annotated[
        str, typer.Option(help="Such as softmax,argmax,cosine,concat; by default the run's.")
    ] = "",
    scoring: Annotated[
        str,
        typer.Option(
            help="paper,official or one of them; by default the run's. Nothing is asked anew."
        ),
    ] = "",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of inference."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where predictions are kept; by default RUN/evaluation."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that answer; the result is the same.")
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the scores as JSON and nothing else.")
    ] = False,
) -> None:
    """Score the bank in a run folder, without a federation, and keep every prediction.

    Stopped, the same command goes on from what is answered. Exit code 2: wrong use; 128 + n:
    stopped by signal n.
    """
    from fcit_app.config import parse_assignments
    from fcit_app.launch import watch_signals

    changes = parse_assignments(assignments or [])
    run, names, columns, chosen, scorings = _read(path, tasks, activation, split, scoring, changes)
    from fcit_app.evaluate.evaluation import evaluate_saved

    folder = (out or run.path / "evaluation").resolve()
    found: list[BankScores] = []
    with watch_signals(interrupt=True) as interruption:
        try:
            with counting("questions") as told:
                found = evaluate_saved(
                    run, names, chosen, columns, folder, processes, told, scorings
                )
        except KeyboardInterrupt:
            pass
    if interruption:
        Console(stderr=True).print(
            f"[yellow]Stopped.[/yellow] What is answered is kept in {folder}; the same command "
            "goes on from there.",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(128 + interruption.number)
    if as_json:
        told_of = {"method": run.config.method, "stage": run.stage, "round": run.round}
        # In the order of the weights.
        subspaces = [subspace.identifier for subspace in run.bank.subspaces]
        facts = {"run": str(run.path), **told_of, "split": split, "subspaces": subspaces}
        typer.echo(json.dumps(facts | {"scores": [s.as_dict() for s in found]}, indent=2))
        return
    _print(run, names, split, found, {} if changes else _own(run, split))


def _read(
    path: Path,
    tasks: str,
    activation: str,
    split: str,
    scoring: str,
    changes: dict[str, Scalar],
) -> tuple[SavedRun, tuple[str, ...], tuple[Activation, ...], Split, tuple[Scoring, ...]]:
    """Read run and options; all that is wrong with them at once."""
    from fcit_app.config import parse
    from fcit_app.evaluate.saved_run import open_saved_run, unrouted

    problems: list[str] = []
    names: tuple[str, ...] = ()
    columns: tuple[Activation, ...] = ()
    try:
        names = parse({"tasks": tasks}).tasks
    except ConfigError as error:
        problems += error.problems
    scorings: tuple[Scoring, ...] = ()
    given = _names(activation)
    for name in given:
        try:
            columns = (*columns, parse({"activation": name}).activation)
        except ConfigError as error:
            problems += error.problems
    for name in _names(scoring):
        try:
            scorings = (*scorings, parse({"evaluate.scoring": name}).evaluate.scoring)
        except ConfigError as error:
            problems += error.problems
    chosen: Split = "validation" if split == "validation" else "test"
    if split != chosen:
        problems.append(f"--split: {split!r} is not allowed; allowed: one of test, validation.")
    if given and "activation" in changes:
        problems.append("activation: given by --activation and by --set. Keep one of them.")
    if _names(scoring) and "evaluate.scoring" in changes:
        problems.append("evaluate.scoring: given by --scoring and by --set. Keep one of them.")
    try:
        run = open_saved_run(path, changes)
        problems += run.unasked(names, chosen)
        if given and not run.routed:
            problems.append(unrouted("--activation", run))
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from error
    if problems:
        raise ConfigError(problems)
    columns = columns or (run.config.activation,)
    return run, names or run.tasks, columns, chosen, scorings or (run.config.evaluate.scoring,)


def _names(listed: str) -> tuple[str, ...]:
    """Names between commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in listed.split(",") if name.strip()))


def _own(run: SavedRun, split: str) -> dict[str, float]:
    """Accuracy by task of the run's own last evaluation, if it has finished."""
    from fcit_app.runs import read_result

    if split != "test" or not (run.path / "result.json").is_file():
        return {}
    result = read_result(run.path)
    return dict(zip(result.tasks, result.accuracy[-1], strict=True)) if result.accuracy else {}


def _print(
    run: SavedRun,
    tasks: tuple[str, ...],
    split: str,
    found: list[BankScores],
    own: dict[str, float],
) -> None:
    """One row a task, a column an activation and scoring; last the run's own numbers."""
    title = f"{run.config.method} · after stage {run.stage}, round {run.round} · {split} samples"
    table = Table(title=title, title_justify="left")
    table.add_column("task")
    table.add_column("questions", justify="right")
    for scores in found:
        names: list[str] = [scores.activation or "accuracy"]
        names += [scores.scoring] if len({entry.scoring for entry in found}) > 1 else []
        table.add_column(" ".join(names), justify="right")
    if own:
        table.add_column("in the run", justify="right")
    rows = zip(*(scores.scores for scores in found), strict=True)
    for task, count, row in zip(tasks, found[0].questions, rows, strict=True):
        cells = [f"{score.accuracy:.2f}" for score in row]
        known = [f"{own[task]:.2f}" if task in own else ""] if own else []
        table.add_row(task, str(count), *cells, *known)
    table.add_section()
    whole = [f"{sum(own.values()) / len(own):.2f}" if set(own) == set(tasks) else ""] if own else []
    means = [f"{scores.mean:.2f}" for scores in found]
    table.add_row("mean", str(sum(found[0].questions)), *means, *whole)
    console = output()
    console.print(table)
    for line in _means_of_parts(found):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    for folder in dict.fromkeys(scores.folder for scores in found):
        place = folder / "predictions.jsonl"
        console.print(f"Predictions: {place}", highlight=False, soft_wrap=True, markup=False)


def _means_of_parts(found: list[BankScores]) -> list[str]:
    """Tell what a score is a mean of; once, where several scorings agree."""
    lines = [
        f"{score.task}{f' ({scores.activation})' if scores.activation else ''}, {score.metric}: "
        + ", ".join(f"{name} {value:.2f}" for name, value in score.parts.items())
        for scores in found
        for score in scores.scores
        if score.parts
    ]
    return list(dict.fromkeys(lines))
