"""The headline: each run's accuracies and summaries beside its reference rows."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from fcit_app.config.methods import REFERENCES
from fcit_app.report.html import MISSING, render
from fcit_app.report.reading import Reading
from fcit_app.report.table import all_tasks, cells, header, label, place
from fcit_app.runs.result import RunResult

_BASE = "base, zero-shot"

_TEMPLATE = """<dl class="cards">
{% for name, numbers in cards %}
<div><dt>{{ name }}</dt>{% for title, value in numbers %}
<dd><b>{{ value }}</b> {{ title }}</dd>{% endfor %}</div>
{% endfor %}
</dl>
<div class="wide"><table>
<caption>Accuracy after the last stage (per cent)</caption>
<thead><tr><th scope="col">method</th>{% for name in header %}<th scope="col">{{ name }}</th>
{%- endfor %}</tr></thead>
<tbody>
{% for name, kind, row in rows %}
<tr class="{{ kind }}"><th scope="row">{{ name }}</th>
{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
<p class="note">Last: mean of the row. Avg: mean over stages of the mean over the tasks seen by
then. BWT: backward transfer, in points: what later stages did to the tasks before them. References
(zero-shot, blind: without the picture, centralized: all data in one place) take part in no
federation; those of the same data, tasks and seed are taken from the folders beside the run.</p>
"""


def run_names(runs: Sequence[Reading]) -> list[str]:
    """Name of each run: its method, what tells it from others, and whether it is unfinished."""
    results = [run.result for run in runs if run.result]
    names = []
    for run in runs:
        name = label(run.result, results) if run.result else run.method
        names.append(name if run.finished else f"{name} (unfinished)")
    return [
        f"{name}, {run.folder.name}" if names.count(name) > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]


def in_order(runs: Sequence[Reading]) -> list[Reading]:
    """Sort runs as the tables do: references, then methods; those without numbers last."""

    def rank(run: Reading) -> tuple[bool, tuple[int, str, int]]:
        return run.result is None, place(run.result) if run.result else (0, run.method, 0)

    return sorted(runs, key=rank)


def headline(runs: Sequence[Reading], references: Sequence[Reading]) -> Markup:
    """Make the cards of the runs, and the table of all of them with their references."""
    everything = in_order([*references, *runs])
    results = [run.result for run in everything if run.result]
    tasks = all_tasks(results)
    rows = (
        [] if any(result.method == "zero-shot" for result in results) else _base_rows(runs, tasks)
    )
    nothing = [MISSING] * len(header(tasks))
    for name, run in zip(run_names(everything), everything, strict=True):
        kind = "reference" if run.method in REFERENCES else run.method
        rows.append((name, kind, cells(run.result, tasks) if run.result else nothing))
    shown = [(name, run) for name, run in zip(run_names(runs), runs, strict=True)]
    cards = [
        (name, _card(run.result))
        for name, run in shown
        if run.result and run.method not in REFERENCES
    ]
    return render(_TEMPLATE, cards=cards, header=header(tasks), rows=rows)


def _card(result: RunResult) -> list[tuple[str, str]]:
    shown = [
        ("Last", result.last, ".1f"),
        ("Avg", result.avg, ".1f"),
        ("backward transfer", result.backward_transfer, "+.1f"),
        ("forgetting", result.forgetting, ".1f"),
    ]
    return [(title, format(value, form)) for title, value, form in shown if value is not None]


def _base_rows(runs: Sequence[Reading], tasks: Sequence[str]) -> list[tuple[str, str, list[str]]]:
    """Give the plain base's row, which a run measures before its first stage."""
    for run in runs:
        if run.result and run.result.zero_shot:
            row = dict(zip(run.result.tasks, run.result.zero_shot, strict=False))
            mean = sum(row.values()) / len(row)
            values = [*(row.get(task) for task in tasks), mean, None, None]
            texts = [MISSING if value is None else f"{value:.1f}" for value in values]
            return [(_BASE, "reference", texts)]
    return []
