"""`fcit open-world`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fcit_app.commands.terminal import output

if TYPE_CHECKING:
    from fcit_app.evaluate.open_world import Cosines


def open_world(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, finished or not.")],
    unseen: Annotated[
        str,
        typer.Option(help="Tasks to try the limit on that the run never trained; rest: all."),
    ] = "rest",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the numbers as JSON and nothing else.")
    ] = False,
) -> None:
    """Calibrate below which similarity a question is of none of the run's tasks.

    Calibrated on validation questions of the run's own tasks, measured on test questions of these
    and of tasks that the run never trained. Nothing is answered, and the base model is not loaded
    for tokens made of text.
    """
    from fcit_app.data.catalogue import never_trained
    from fcit_app.evaluate.open_world import Similarities, calibrate_run, told_apart
    from fcit_app.evaluate.saved_run import open_saved_run

    run = open_saved_run(path)
    similarities = Similarities(run)
    calibration = calibrate_run(similarities)
    strangers = never_trained(tuple(filter(None, unseen.split(","))), run.tasks)
    own = {task: similarities.largest(task, "test") for task in run.tasks}
    foreign = {task: similarities.largest(task, "test") for task in strangers}
    limit = calibration.limit
    shares = {task: float((values >= limit).mean()) for task, values in {**own, **foreign}.items()}
    apart = told_apart(own, foreign) if foreign else None
    if as_json:
        facts = {
            "run": str(run.path),
            "limit": limit,
            "range": [calibration.low, calibration.high],
            "validation": {"kept": calibration.kept, "refused": calibration.refused},
            "woken": shares,
            "unseen": list(strangers),
            "auroc": apart,
        }
        typer.echo(json.dumps(facts, indent=2))
        return
    console = output()
    console.print(_table(own, foreign, shares))
    if apart is not None:
        console.print(f"Area under the ROC curve, own against unseen: {apart:.3f}")
    console.print(
        f"Limit {limit:.3f} (as good: {calibration.low:.3f} to {calibration.high:.3f}). Use it: "
        f"fcit evaluate {path} --set identity.open-world={limit:.3f}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def _table(own: dict[str, Cosines], foreign: dict[str, Cosines], shares: dict[str, float]) -> Table:
    table = Table()
    table.add_column("task")
    table.add_column("trained")
    for name in ("questions", "smallest cosine", "median", "largest", "wake a subspace"):
        table.add_column(name, justify="right")
    for trained, group in (("yes", own), ("no", foreign)):
        for task, values in group.items():
            numbers = (values.min(), float(sorted(values)[len(values) // 2]), values.max())
            cells = [f"{number:.3f}" for number in numbers]
            table.add_row(task, trained, str(len(values)), *cells, f"{shares[task]:.1%}")
    return table
