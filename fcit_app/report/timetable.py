"""Drawings of a scenario: who learns what when, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rich.table import Table
from rich.text import Text

from fcit_app.data.catalogue import CAPABILITIES, task
from fcit_app.data.lesson import Lesson, tasks_in
from fcit_app.data.scenario import Scenario, Timetable
from fcit_app.errors import ConfigError
from fcit_app.runs.disk import writing

PICTURE_SUFFIXES: tuple[str, ...] = (".png", ".svg", ".pdf")
_TERMINAL = dict(zip(CAPABILITIES, ("cyan", "yellow", "green", "magenta"), strict=True))
_PAPER = dict(zip(CAPABILITIES, ("#cfe8f3", "#fdf0c4", "#d5ecd0", "#ecd5ea"), strict=True))
_NEW, _RETURNS = "★", "↺"
_LEGEND = f"{_NEW} new · {_RETURNS} taught before"


def scenario_facts(scenario: Scenario) -> list[dict[str, object]]:
    """Stages as JSON: number, name, lessons, tasks, and which of them are new or return."""
    return [
        {
            "stage": number,
            "name": stage.name,
            **stage.facts(),
            "tasks": list(tasks_in(stage.whole)),
            "new": list(scenario.new_tasks(number)),
            "returning": list(scenario.returning_tasks(number)),
        }
        for number, stage in enumerate(scenario.stages, start=1)
    ]


def scenario_table(scenario: Scenario) -> Table:
    """Table of a scenario: a row a stage, a column a slot or group of clients."""
    table = Table(title=f"Who learns what when: {scenario.name}", show_lines=True)
    table.add_column("stage", justify="right")
    columns = _columns(scenario)
    for title in columns:
        table.add_column(title)
    for number, stage in enumerate(scenario.stages, start=1):
        new = scenario.new_tasks(number)
        cells = [_text(lesson, new) for lesson in _row(stage, columns)]
        table.add_row(f"{number} {stage.label}".strip(), *cells)
    table.caption = Text(f"{_LEGEND} · ").append_text(
        Text(" ").join(Text(name, style=colour) for name, colour in _TERMINAL.items())
    )
    return table


def draw_scenario(scenario: Scenario, path: Path) -> Path:
    """Draw a scenario as a picture: boxes coloured by capability, new tasks in bold.

    Parameters
    ----------
    scenario : Scenario
        What to draw.
    path : Path
        Ends in ``.png``, ``.svg`` or ``.pdf``; replaced if it exists.

    Returns
    -------
    Path
        The picture's absolute path.

    Raises
    ------
    ConfigError
        If the path has another ending.
    RunFolderError
        If it cannot be written.
    """
    if path.suffix not in PICTURE_SUFFIXES:
        allowed = ", ".join(PICTURE_SUFFIXES)
        raise ConfigError(f"--out: '{path}' is not allowed; allowed: a file ending in {allowed}.")
    columns, rows = _columns(scenario), scenario.stages
    figure = Figure(figsize=(1.0 + 1.5 * len(columns), 0.8 + 0.5 * len(rows)))
    axes = figure.add_subplot()
    for y, stage in enumerate(rows):
        new = scenario.new_tasks(y + 1)
        for x, lesson in enumerate(_row(stage, columns)):
            if lesson:
                fresh = any(name in new for name in tasks_in(lesson))
                colour = _PAPER[_capability(lesson[0])]
                axes.add_patch(Rectangle((x, y), 0.96, 0.9, facecolor=colour))
                weight = "bold" if fresh else "normal"
                text = "\n".join(lesson)
                axes.text(x + 0.48, y + 0.45, text, ha="center", va="center", weight=weight, size=8)
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(rows), 0)
    axes.set_xticks([x + 0.48 for x in range(len(columns))], list(columns))
    axes.set_yticks(
        [y + 0.45 for y in range(len(rows))],
        [f"stage {y} {stage.label}".strip() for y, stage in enumerate(rows, start=1)],
    )
    axes.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    legend = [Rectangle((0, 0), 1, 1, facecolor=colour) for colour in _PAPER.values()]
    axes.legend(
        legend, list(_PAPER), loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, frameon=False,
        title="bold: taught for the first time",
    )  # fmt: skip
    with writing(path):
        figure.savefig(path, dpi=150, bbox_inches="tight")
    return path.resolve()


def _columns(scenario: Scenario) -> dict[str, int]:
    """Title of each column to its slot, to a client of its group, or to -1 for everybody else."""
    if scenario.slots:
        return {f"slot {slot}": slot for slot in range(scenario.slots)}
    named = sorted({client for stage in scenario.stages for client in stage.clients})
    groups: list[list[int]] = []
    for client in named:
        if groups and client == groups[-1][-1] + 1 and _same(scenario, client, groups[-1][0]):
            groups[-1].append(client)
        else:
            groups.append([client])
    columns = {f"client {g[0]}" if len(g) == 1 else f"clients {g[0]}-{g[-1]}": g[0] for g in groups}
    if any(stage.others for stage in scenario.stages):
        columns["others" if named else "everyone"] = -1
    return columns


def _same(scenario: Scenario, one: int, other: int) -> bool:
    return all(stage.lesson(0, one) == stage.lesson(0, other) for stage in scenario.stages)


def _row(stage: Timetable, columns: dict[str, int]) -> list[Lesson]:
    return [stage.lesson(place, place) for place in columns.values()]


def _text(lesson: Lesson, new: tuple[str, ...]) -> Text:
    """Names of a lesson in their capabilities' colours, each with its mark."""
    lines = []
    for name in lesson:
        fresh = any(one in new for one in tasks_in((name,)))
        mark = _NEW if fresh else _RETURNS
        style = f"bold {_TERMINAL[_capability(name)]}" if fresh else _TERMINAL[_capability(name)]
        lines.append(Text(f"{name} {mark}", style=style))
    return Text("\n").join(lines)


def _capability(name: str) -> str:
    return name if name in CAPABILITIES else task(name).capability
