"""The command line: a thin face over the packages. Heavy packages are imported when needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fcit_app.errors import ConfigError, FcitError

if TYPE_CHECKING:
    from fcit_app.config import RunConfig, Scalar
    from fcit_app.runs import RunResult

USER_ERROR = 2
"""Exit code for what a user can mend."""

app = typer.Typer(
    name="fcit",
    help="Federated continual instruction tuning with Flower.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _main() -> None:
    """Federated continual instruction tuning with Flower."""


@app.command()
def run(
    preset: Annotated[str | None, typer.Option(help="mini (default) or mini-smoke.")] = None,
    method: Annotated[
        str | None,
        typer.Option(help="disco, finetune, zero-shot, blind or centralized."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder; by default runs/PRESET/METHOD.", show_default=False),
    ] = None,
    clients: Annotated[int, typer.Option(min=1, help="Clients of the federation.")] = 5,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the run that the folder holds.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON and nothing else.")
    ] = False,
) -> None:
    """Run one method through the real `flwr run` and leave a run folder.

    Progress goes to standard error. Exit code 0: finished; 1: the run failed; 2: wrong use or
    configuration; 130: stopped with Ctrl-C.
    """
    from fcit_app.config import check_clients, parse, resolve_paths
    from fcit_app.launch import find_app_dir
    from fcit_app.model.weights import mini_path
    from fcit_app.runs import check_free, clear, read_result

    options = {"preset": preset, "method": method, "out": None if out is None else str(out)}
    config = resolve_paths(parse(_merge(options, assignments or [])))
    if config.federated:
        find_app_dir()
        check_clients(config, clients)
    if config.model.name == "mini":
        mini_path()
    folder = Path(config.out)
    if force:
        clear(folder)
    check_free(folder)
    console = Console(stderr=True)
    console.print(
        f"[bold]{config.method}[/bold] · preset {config.preset} · {len(config.stages)} stages · "
        f"seed {config.seed}",
        highlight=False,
    )
    code = (
        _run_federated(config, clients, folder, console)
        if config.federated
        else _run_reference(config, folder, console)
    )
    if code:
        raise typer.Exit(code)
    result = read_result(folder)
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        _summarise(result, folder)


@app.command()
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, or a folder of them.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="HTML file; by default report.html in the first folder given."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON and nothing else.")
    ] = False,
) -> None:
    """Compare finished runs: a table here, and an HTML report."""
    from fcit_app.report import comparison_table, cost_line, write_report
    from fcit_app.runs import finished_runs, read_result

    folders = finished_runs(runs)
    results = [read_result(folder) for folder in folders]
    page = write_report(folders, out or runs[0] / "report.html")
    if as_json:
        typer.echo(json.dumps([result.model_dump() for result in results], indent=2))
        return
    # Without a terminal a table of twelve columns would be folded to eighty characters.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(comparison_table(results))
    console.print(cost_line(results), highlight=False, soft_wrap=True)
    console.print(f"Report: {page}", highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point: errors that a user can mend become one message and exit code 2."""
    try:
        app()
    except FcitError as error:
        Console(stderr=True).print(
            f"[bold red]Error:[/bold red] {escape(str(error))}", highlight=False, soft_wrap=True
        )
        sys.exit(USER_ERROR)


def _merge(options: dict[str, str | None], assignments: list[str]) -> dict[str, Scalar]:
    """Options and ``--set`` assignments in one mapping; one key may not be given by both."""
    from fcit_app.config import parse_assignments

    given: dict[str, Scalar] = {key: value for key, value in options.items() if value is not None}
    changed = parse_assignments(assignments)
    twice = [
        f"{key}: given by --{key} ({given[key]}) and by --set ({changed[key]}). Keep one of them."
        for key in given
        if key in changed and changed[key] != given[key]
    ]
    if twice:
        raise ConfigError(twice)
    return given | changed


def _run_federated(config: RunConfig, clients: int, folder: Path, console: Console) -> int:
    from fcit_app.config import flatten
    from fcit_app.launch import find_app_dir, run_app

    return run_app(
        find_app_dir(),
        flatten(config),
        clients,
        folder,
        console,
        parallel=config.clients_per_round,
    )


def _run_reference(config: RunConfig, folder: Path, console: Console) -> int:
    """Run a method without a federation in this process."""
    from fcit_app.config import flatten
    from fcit_app.launch import follow
    from fcit_app.runs import RunFolder, describe_environment

    run_folder = RunFolder.create(folder, flatten(config), describe_environment())
    with follow(console, run_folder.ledger.path, "loading the base model and the data"):
        from fcit_app.reference import run_reference

        try:
            run_reference(config, run_folder)
        except KeyboardInterrupt:
            return 130
    return 0


def _summarise(result: RunResult, folder: Path) -> None:
    """Print the headline numbers, time and traffic, and where the run lies."""
    from fcit_app.runs.progress import duration

    shown = {"Last": result.last, "Avg": result.avg, "backward transfer": result.backward_transfer}
    numbers = [f"{name} {value:.1f}" for name, value in shown.items() if value is not None]
    typer.echo(" · ".join([result.method, *numbers]))
    parts = []
    if result.seconds.total is not None:
        parts.append(duration(result.seconds.total))
    if result.bytes.up is not None and result.bytes.down is not None:
        up, down = result.bytes.up / 1e6, result.bytes.down / 1e6
        parts.append(f"{up:.1f} MB from the clients, {down:.1f} MB to them")
    if parts:
        typer.echo(" · ".join(parts))
    typer.echo(f"Run folder: {folder}")


if __name__ == "__main__":
    main()
