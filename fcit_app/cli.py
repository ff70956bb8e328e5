"""The command line: a thin face over the packages. Heavy packages are imported when needed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fcit_app.commands.ask import ask
from fcit_app.commands.audit import audit
from fcit_app.commands.compare import compare
from fcit_app.commands.doctor import doctor
from fcit_app.commands.estimate import estimate
from fcit_app.commands.evaluate import evaluate
from fcit_app.commands.export import export
from fcit_app.commands.forget import forget
from fcit_app.commands.open_world import open_world
from fcit_app.commands.partition import partition
from fcit_app.commands.report import report
from fcit_app.commands.route import route
from fcit_app.commands.scenario import scenario
from fcit_app.commands.settings import merged
from fcit_app.commands.start import PASS_ON, start
from fcit_app.commands.stop import stop
from fcit_app.commands.tau import tau
from fcit_app.commands.track import track
from fcit_app.commands.watch import watch
from fcit_app.errors import ConfigError, FcitError

if TYPE_CHECKING:
    from fcit_app.config import RunConfig, Scalar
    from fcit_app.runs import RunResult

USER_ERROR = 2
"""Exit code for what a user can mend."""

COMMANDS = (
    *(watch, evaluate, ask, route, open_world, tau, compare, report, track),
    *(estimate, doctor, partition, scenario),
    *(export, audit, forget),
    stop,
)
"""All but ``run`` and ``start``, in the order of the help."""

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
    preset: Annotated[
        str | None, typer.Option(help="mini (default), mini-smoke, mini-het or paper-….")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="disco (default), finetune, ewc, zero-shot, …; a wrong name lists all."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder; by default runs/PRESET/METHOD.", show_default=False),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Go on with the run in this folder, as it was set up."),
    ] = None,
    allow: Annotated[
        bool, typer.Option("--allow", help="With --resume: accept harmless differences.")
    ] = False,
    clients: Annotated[
        int | None,
        typer.Option(min=1, help="Clients of the federation: 5, or the resumed run's."),
    ] = None,
    client_gpus: Annotated[
        float,
        typer.Option(min=0, help="GPUs of each client that trains, or a share of one, as 0.5."),
    ] = 0.0,
    stop_within: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Time to finish the round under way after Ctrl-C or SIGTERM; 0: none.",
        ),
    ] = 60.0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the run that the folder holds.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON and nothing else.")
    ] = False,
) -> None:
    """Run one method through the real `flwr run` and leave a run folder.

    Progress goes to standard error. Exit code 0: finished; 1: the run failed; 2: wrong use or
    configuration; 128 + n: stopped by signal n (Ctrl-C: 130, SIGTERM and `fcit stop`: 143). The
    first signal lets the round under way be finished and saved, a second one ends the run at once.
    """
    from fcit_app.config import parse, resolve_paths
    from fcit_app.data.stages import make_stages
    from fcit_app.launch import find_app_dir
    from fcit_app.model.weights import mini_path
    from fcit_app.preflight import foreseen
    from fcit_app.runs import check_free, how_to_go_on, read_result, replacing

    options = {"preset": preset, "method": method, "out": None if out is None else str(out)}
    given = merged(options, assignments or [])
    if allow and not resume:
        raise ConfigError("--allow goes with --resume alone. Leave it out.")
    if resume:
        if force:
            raise ConfigError("--force replaces a run and --resume goes on with it. Keep one.")
        given, own_clients = _settings_of(resume, given, allow)
        clients = clients or own_clients
    clients = clients or 5
    config = resolve_paths(parse(given, [_check_aggregator, partial(foreseen, clients=clients)]))
    if config.federated:
        find_app_dir()
        if client_gpus:
            _check_gpu(config, client_gpus)
    if config.model.name == "mini":
        mini_path()
    folder, stages = Path(config.out), len(make_stages(config))
    console = Console(stderr=True)
    if resume and (folder / "result.json").is_file():
        console.print("The run has finished; there is nothing left to do.")
        _summarise(read_result(folder), folder, as_json)
        return
    with replacing(folder) if force else nullcontext():
        if not resume:
            check_free(folder)
        console.print(
            f"[bold]{config.method}[/bold] · preset {config.preset} · {stages} stages "
            f"· seed {config.seed}",
            highlight=False,
        )
        code = (
            _run_federated(config, clients, folder, console, client_gpus, stop_within)
            if config.federated
            else _run_reference(config, folder, console)
        )
    if code:
        if config.federated and (how := how_to_go_on(folder)):
            console.print(how, highlight=False, soft_wrap=True, markup=False)
        raise typer.Exit(code)
    _summarise(read_result(folder), folder, as_json)


for _command in COMMANDS:
    app.command()(_command)
app.command(context_settings=PASS_ON)(start)


def main() -> None:
    """Entry point: errors that a user can mend become one message and exit code 2."""
    try:
        app()
    except FcitError as error:
        Console(stderr=True).print(
            f"[bold red]Error:[/bold red] {escape(str(error))}", highlight=False, soft_wrap=True
        )
        sys.exit(USER_ERROR)


def _settings_of(
    path: Path, given: Mapping[str, Scalar], allow: bool
) -> tuple[dict[str, Scalar], int | None]:
    """Give a resumed run's settings, its own but for those given, and how many clients it has.

    What does not go together is told here already; the server compares the rest.
    """
    from fcit_app.config import flatten, parse
    from fcit_app.runs import RESUME, RunFolder, config_differences, refuse
    from fcit_app.runs.differences import PLACES
    from fcit_app.runs.lock import check_unlocked

    folder = RunFolder(path)
    check_unlocked(folder.path)
    own = {key: value for key, value in folder.read_config().items() if key not in PLACES}
    settings = {**own, **given, "resume": str(path), "resume-allow": allow}
    now = flatten(parse(settings))
    refuse(folder.path, config_differences(flatten(parse(own)), now), allow)
    saved = folder.read_state() if folder.has_state else None
    return settings, saved.meta.get(RESUME, {}).get("shares") if saved else None


def _check_aggregator(values: Mapping[str, Scalar]) -> list[str]:
    """Let Flower judge the aggregator; the default one is not worth the time to import Flower."""
    if values.get("aggregator", "fedavg") == "fedavg" and not values.get("aggregator.arguments"):
        return []
    from strategies.aggregators import check_aggregator

    return check_aggregator(values)


def _run_federated(
    config: RunConfig,
    clients: int,
    folder: Path,
    console: Console,
    client_gpus: float,
    stop_within: float,
) -> int:
    from fcit_app.config import flatten
    from fcit_app.launch import find_app_dir, run_app

    return run_app(
        find_app_dir(),
        flatten(config),
        clients,
        folder,
        console,
        parallel=config.clients_per_round,
        client_gpus=client_gpus,
        stop_within=stop_within,
    )


def _check_gpu(config: RunConfig, client_gpus: float) -> None:
    """Ask torch for the GPU; without one wanted nobody has to wait for torch."""
    from fcit_app.estimate import check_gpu
    from fcit_app.model.precision import gpu_bytes

    check_gpu(config, client_gpus, gpu_bytes())


def _run_reference(config: RunConfig, folder: Path, console: Console) -> int:
    """Run a method without a federation in this process; its folder is made once all is loaded."""
    from fcit_app.config import flatten
    from fcit_app.launch import follow, watch_signals
    from fcit_app.runs import RunFolder, describe_environment, locked

    run_folder: RunFolder | None = None
    reason = ""
    with (
        watch_signals(interrupt=True) as interruption,
        follow(console, folder / "ledger.jsonl", "loading the base model and the data"),
    ):
        try:
            from fcit_app.identity.encoders import load_encoder
            from fcit_app.model.base import load_base
            from fcit_app.reference import run_reference
            from fcit_app.report import write_report
            from fcit_app.tracking import tracked

            load_base(config.model)
            load_encoder(config.identity.encoder)
            run_folder = RunFolder.create(folder, flatten(config), describe_environment())
            with locked(run_folder.path, "run"), tracked(run_folder, config.tracking):
                run_reference(config, run_folder)
                write_report([folder], folder / "report.html")
        except KeyboardInterrupt:
            if run_folder:
                run_folder.ledger.record("run-failed", reason="stopped by a signal")
        except FcitError as error:
            if not run_folder:
                raise
            reason = str(error)
    if interruption:
        console.print("[yellow]Stopped.[/yellow] Nothing of the run is left running.")
        return 128 + interruption.number
    if reason:
        console.print("[bold red]The run failed[/bold red].")
        console.print(escape(reason), highlight=False, soft_wrap=True)
        return 1
    return 0


def _summarise(result: RunResult, folder: Path, as_json: bool) -> None:
    """Print the headline numbers, time and traffic, and where the run lies; or all as JSON."""
    from fcit_app.runs.progress import duration

    if as_json:
        typer.echo(result.model_dump_json(indent=2))
        return
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
