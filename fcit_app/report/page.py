"""The report: one HTML file that needs nothing but a browser, of one or several runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from fcit_app.errors import RunFolderError
from fcit_app.report.accuracy import accuracy_matrix, forgetting_curves, mean_curves
from fcit_app.report.charts import number_figures
from fcit_app.report.costs import time_by_phase, traffic
from fcit_app.report.headline import headline, in_order, run_names
from fcit_app.report.html import render
from fcit_app.report.identity import subspaces, token_similarity, who_joined
from fcit_app.report.losses import loss_curves
from fcit_app.report.provenance import provenance
from fcit_app.report.reading import Reading, read_run, references_of
from fcit_app.report.refusals import refusals
from fcit_app.report.routing import activation, beyond_accuracy, skills
from fcit_app.report.style import STYLE
from fcit_app.report.table import cost_line
from fcit_app.runs.atomic import write_bytes
from fcit_app.runs.disk import writing

_TITLE = "Federated continual instruction tuning"


@dataclass(frozen=True)
class Section:
    """A part of the report: its title, its anchor, and what draws it of each run."""

    title: str
    anchor: str
    parts: tuple[Callable[[Reading], Markup | None], ...]


SECTIONS: tuple[Section, ...] = (
    Section("Learnt and kept", "accuracy", (accuracy_matrix, forgetting_curves)),
    Section(
        "Subspaces and who joined them", "subspaces", (token_similarity, subspaces, who_joined)
    ),
    Section("Which subspaces questions wake", "routing", (activation, beyond_accuracy)),
    Section("General ability (per cent)", "skills", (skills,)),
    Section("Training loss", "loss", (loss_curves,)),
    Section("Time and traffic", "costs", (time_by_phase, traffic)),
    Section("Left out and refused", "refusals", (refusals,)),
    Section("Configuration, versions, and how to run it again", "provenance", (provenance,)),
)
"""In the order of the page; a section that no run has anything for is left out."""

# Nothing is loaded and nothing runs: the browser is told so, and holds the page to it.
_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>{{ style }}</style></head>
<body>
<h1>{{ title }}</h1>
{% if cost %}<p class="note">{{ cost }}</p>{% endif %}
{% if missing %}
<div class="missing" role="note"><ul>
{% for name, problem in missing %}<li><b>{{ name }}</b>: {{ problem }}</li>{% endfor %}
</ul></div>
{% endif %}
<nav aria-label="Sections"><ul>{% for title, anchor, _ in sections %}
<li><a href="#{{ anchor }}">{{ title }}</a></li>{% endfor %}</ul></nav>
<main>
{{ headline }}
{{ means }}
{% for title, anchor, runs in sections %}
<section id="{{ anchor }}"><h2>{{ title }}</h2>
<div class="runs">
{% for name, parts in runs %}
<article><h3>{{ name }}</h3>
{% for part in parts %}{{ part }}{% endfor %}
</article>
{% endfor %}
</div></section>
{% endfor %}
</main></body></html>
"""


def write_report(runs: Sequence[Path], out: Path) -> Path:
    """Write the report of one or several runs, finished or not.

    What a run lacks is named in the report. References beside the runs' folders are taken into
    the headline's table.

    Parameters
    ----------
    runs : Sequence[Path]
        Run folders; at least one.
    out : Path
        The HTML file; replaced if it exists.

    Returns
    -------
    Path
        ``out``, absolute.

    Raises
    ------
    RunFolderError
        If a path is no folder, or ``out`` cannot be written.
    """
    for folder in runs:
        if not Path(folder).is_dir():
            raise RunFolderError(f"{folder} is not a run's folder. Name a folder, as runs/mini.")
    page = page_of([read_run(Path(folder)) for folder in runs])
    with writing(out):
        write_bytes(out, page.encode())
    return out.resolve()


def page_of(runs: Sequence[Reading]) -> str:
    """Make the page of runs that have been read."""
    runs = in_order(runs)
    names = run_names(runs)
    named = list(zip(names, runs, strict=True))
    results = [run.result for run in runs if run.result]
    settings = sorted({f"{result.setting} stages" for result in results})
    sections = [(s.title, s.anchor, _filled(s, named)) for s in SECTIONS]
    page = render(
        _TEMPLATE,
        title=_TITLE + (f": {', '.join(settings)}" if settings else ""),
        style=Markup(STYLE),
        cost=cost_line(results) if results else "",
        missing=[(name, problem) for name, run in named for problem in run.missing],
        headline=headline(runs, references_of(runs)),
        means=mean_curves(runs, names) or "",
        sections=[section for section in sections if section[2]],
    )
    return number_figures(str(page))


def _filled(
    section: Section, named: Sequence[tuple[str, Reading]]
) -> list[tuple[str, list[Markup]]]:
    """Name and parts of the runs that have something for a section."""
    found = []
    for name, run in named:
        parts = [part for part in (draw(run) for draw in section.parts) if part is not None]
        if parts:
            found.append((name, parts))
    return found
