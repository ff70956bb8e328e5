"""`fcit start`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Context settings by which Flower's own arguments reach this command."""


def start(
    context: typer.Context,
    program: Annotated[str, typer.Argument(metavar="superlink|supernode")],
    check: Annotated[
        bool, typer.Option("--check", help="Only look whether all is well; start nothing.")
    ] = False,
    stop_within: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="SuperLink: time for its runs to finish the round under way after Ctrl-C or "
            "SIGTERM; 60 unless given, 0: none.",
        ),
    ] = None,
) -> None:
    """Start Flower's SuperLink or SuperNode on this machine, with Flower's own arguments.

    What is wrong (certificates, keys, ports, the other side) is told first; nothing is left running
    in the end. The first signal to a SuperLink lets its runs finish the round under way and save, a
    second one ends them at once. See docs/deploy.md. Exit code 1: it ended by itself; 2: wrong use;
    128 + n: stopped by signal n.
    """
    from fcit_app import deployment
    from fcit_app.errors import ConfigError, RunError
    from fcit_app.launch import watch_signals
    from fcit_app.launch.stopping import WITHIN

    if program not in deployment.PROGRAMS:
        raise ConfigError(f"{program}: must be one of {', '.join(deployment.PROGRAMS)}.")
    if program != "superlink" and stop_within is not None:
        raise ConfigError(
            f"--stop-within = {stop_within:g}: is not allowed for a {program}, which has no runs; "
            "allowed for a superlink. Leave it out."
        )
    name, given = deployment.PROGRAMS[program], list(context.args)
    arguments = deployment.read_arguments(program, given)
    console = Console(stderr=True)

    def say(text: str) -> None:
        console.print(escape(text), highlight=False, soft_wrap=True)

    with watch_signals() as interruption:
        other = (arguments.superlink, arguments.root_certificates, arguments.insecure)
        if program == "superlink":
            deployment.check_superlink(arguments)
        else:
            deployment.check_node(arguments)
            if check:
                why = deployment.reach(*other)
                if why:
                    raise RunError(
                        f"The SuperLink at {arguments.superlink} does not answer: {why}."
                    )
            else:
                wait = arguments.max_wait
                deployment.wait_for_superlink(*other, wait, say, lambda: bool(interruption))
        if check:
            say(f"{name}: nothing wrong is found.")
            return
        output = ""
        if not interruption:
            within = WITHIN if stop_within is None else stop_within
            _, output = deployment.run_program(
                name,
                given,
                interruption,
                lambda family: deployment.let_runs_stop(family, interruption, within, say),
            )
    if interruption:
        raise typer.Exit(128 + interruption.number)
    # Neither of them ends by itself if all is well, whatever its exit code says.
    say(f"{name} has ended. {deployment.explain(arguments, output)}")
    raise typer.Exit(1)
