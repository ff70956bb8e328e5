"""`fcit scenario`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fcit_app.commands.terminal import output
from fcit_app.errors import ConfigError


def scenario(
    name: Annotated[
        str, typer.Argument(metavar="NAME_OR_FILE", help="hom, het or a scenario file.")
    ],
    setting: Annotated[str, typer.Option(help="task or capability.")] = "task",
    participants: Annotated[
        int | None,
        typer.Option("--clients-per-round", min=1, help="Check against so many participants."),
    ] = None,
    clients: Annotated[
        int | None, typer.Option(min=1, help="Check against so many clients.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Draw it to this picture (.png, .svg, .pdf).")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the stages as JSON and nothing else.")
    ] = False,
) -> None:
    """Check a scenario and show who learns what when. Exit code 2: it is wrong, and how."""
    from fcit_app.config import parse
    from fcit_app.data.scenario import misfits
    from fcit_app.data.scenario_file import load_scenario
    from fcit_app.report.timetable import draw_scenario, scenario_facts, scenario_table

    config = parse({"scenario": name, "setting": setting})
    found = load_scenario(config.scenario, config.setting)
    problems = misfits(found, participants, clients)
    if problems:
        raise ConfigError(problems)
    picture = draw_scenario(found, out) if out else None
    if as_json:
        facts = {"scenario": found.name, "setting": setting, "stages": scenario_facts(found)}
        typer.echo(json.dumps(facts, indent=2))
        return
    console = output()
    console.print(scenario_table(found))
    if picture:
        console.print(f"Picture: {picture}", highlight=False, soft_wrap=True, markup=False)
