"""The report: one HTML file that needs nothing but a browser.

The template is Python text because Flower's app bundle carries no HTML files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment

from fcit_app.report.analysis import beyond_accuracy, skill_rows
from fcit_app.report.plots import accuracy_heat_map, activation_heat_map, forgetting_curves
from fcit_app.report.table import all_tasks, cells, cost_line, header, label, place
from fcit_app.runs.analysis import read_analysis
from fcit_app.runs.atomic import read_json, write_bytes
from fcit_app.runs.folder import writing
from fcit_app.runs.result import RunResult, read_result

_TEMPLATE = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #8884; }
th, td { overflow-wrap: normal; }
th:first-child, td:first-child { text-align: left; }
tr.disco td { font-weight: 600; }
figure { margin: 1rem 0; background: #fff; color: #000; padding: .5rem; border-radius: .5rem; }
svg { max-width: 100%; height: auto; }
pre { overflow-x: auto; }
</style>
<h1>{{ title }}</h1>
<p>{{ cost }}</p>
<h2>Accuracy after the last stage (per cent)</h2>
<div class="wide"><table>
<tr><th>method</th>{% for name in header %}<th>{{ name }}</th>{% endfor %}</tr>
{% for name, method, row in rows %}<tr class="{{ method }}"><td>{{ name }}</td>
{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</table></div>
<p>Last: mean of the row. Avg: mean over stages of the mean over the tasks seen by then.
BWT: backward transfer, in points.</p>
{% for run in runs %}
<h2>{{ run.name }}</h2>
{% if run.matrix %}<div class="wide">
<figure>{{ run.matrix | safe }}<figcaption>Accuracy on each task after each stage
{%- if run.transfer %}; grey: not trained by then{% endif %}</figcaption>
</figure>
<figure>{{ run.curves | safe }}<figcaption>How well each task is kept</figcaption></figure>
</div>{% endif %}
{% if run.beyond %}<div class="wide"><table>
<tr>{% for name in run.beyond[0] %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in run.beyond[1:] %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
<p>Routing: questions whose strongest subspace was trained on their task. Entropy of the activation
weights, in nats and over its largest value. Not trained yet: mean accuracy on tasks that no stage
has taught by then, and what that is above the untrained base.
{%- if run.forward %} Forward transfer: {{ run.forward }} points.{% endif %}</p>{% endif %}
{% if run.activation %}<div class="wide">
<figure>{{ run.activation | safe }}<figcaption>Mean weight of each subspace for each task's
questions, after the last stage</figcaption></figure>
</div>{% endif %}
{% if run.skills %}<details open><summary>General ability (per cent)</summary>
<div class="wide"><table>
<tr><th>skill</th><th>before training</th>
{% for stage in run.skills.stages %}<th>after stage {{ stage }}</th>{% endfor %}</tr>
{% for row in run.skills.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div></details>{% endif %}
{% if run.subspaces %}<div class="wide"><table>
<tr><th>subspace</th><th>opened in stage</th><th>samples</th><th>from</th></tr>
{% for s in run.subspaces %}<tr><td>{{ s.id }}</td><td>{{ s.first_stage }}</td>
<td>{{ s.samples }}</td><td>{{ s.task_counts.items() | map('join', ' ') | join(', ') }}</td></tr>
{% endfor %}</table></div>{% endif %}
{% if run.unscored %}<p>Learnt, but not evaluated on the server: {{ run.unscored }} (no test samples
there).</p>{% endif %}
<details><summary>Configuration and versions</summary><pre>{{ run.facts }}</pre></details>
{% endfor %}
</html>
"""

_PAGE = Environment(autoescape=True).from_string(_TEMPLATE)


def write_report(runs: Sequence[Path], out: Path) -> Path:
    """Write the report of one or several finished runs.

    Parameters
    ----------
    runs : Sequence[Path]
        Run folders with a ``result.json``; at least one.
    out : Path
        The HTML file; replaced if it exists.

    Returns
    -------
    Path
        ``out``, absolute.

    Raises
    ------
    RunFolderError
        If a run is not finished, one of its files cannot be read, or ``out`` cannot be written.
    """
    found = sorted(((read_result(run), Path(run)) for run in runs), key=lambda run: place(run[0]))
    results = [result for result, _ in found]
    tasks = all_tasks(results)
    settings = sorted({f"{result.setting} stages" for result in results})
    page = _PAGE.render(
        title=f"Federated continual instruction tuning: {', '.join(settings)}",
        cost=cost_line(results),
        header=header(tasks),
        rows=[(label(result, results), result.method, cells(result, tasks)) for result in results],
        runs=[_section(result, folder) for result, folder in found],
    )
    with writing(out):
        write_bytes(out, page.encode())
    return out.resolve()


def _section(result: RunResult, folder: Path) -> dict[str, object]:
    staged = len(result.accuracy or []) > 1
    facts = {name: read_json(folder / f"{name}.json") for name in ("config", "environment")}
    analysis = read_analysis(folder)
    last = analysis.stages[-1] if analysis and analysis.stages else None
    forward = analysis.forward_transfer if analysis else None
    return {
        "name": f"{result.method}, seed {result.seed}",
        "matrix": accuracy_heat_map(result, analysis) if staged else None,
        "transfer": analysis is not None
        and any(stage.transfer_accuracy is not None for stage in analysis.stages),
        "beyond": beyond_accuracy(analysis) if analysis else None,
        "forward": None if forward is None else f"{forward:+.1f}",
        "activation": activation_heat_map(last) if last and last.activation else None,
        "skills": skill_rows(analysis) if analysis else None,
        "curves": forgetting_curves(result) if staged else None,
        "subspaces": result.subspaces,
        "unscored": ", ".join(_unscored(result)),
        "facts": json.dumps(facts, indent=2),
    }


def _unscored(result: RunResult) -> list[str]:
    """Tasks that subspaces were trained on and that are no column: clients' private ones."""
    trained = {task for subspace in result.subspaces or [] for task in subspace.task_counts}
    return sorted(trained - set(result.tasks))
