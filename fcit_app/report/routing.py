"""How questions wake subspaces, and what else a run shows beyond its accuracy matrix."""

from __future__ import annotations

from markupsafe import Markup

from fcit_app.report.heat import Cell, heat_map
from fcit_app.report.html import MISSING, render, table
from fcit_app.report.reading import Reading

_NOTE = """<p class="note">Routing: questions whose strongest subspace was trained on their task.
Entropy of the activation weights, in nats and over its largest value. Not trained yet: mean
accuracy on tasks that no stage has taught by then, and what that is above the untrained base.
{%- if forward %} Forward transfer: {{ forward }} points.{% endif %}</p>
"""


def activation(run: Reading) -> Markup | None:
    """Draw the mean weight of each subspace (column) for each task's questions (row)."""
    stages = [stage for stage in (run.analysis.stages if run.analysis else []) if stage.activation]
    if not stages:
        return None
    rows, names = stages[-1].activation or [], stages[-1].subspaces or []
    largest = max(1.0, *(abs(weight) for row in rows for weight in row.weights))
    cells = [
        (row.task, [Cell(f"{weight:.2f}", abs(weight) / largest) for weight in row.weights])
        for row in rows
    ]
    caption = f"Mean weight of each subspace for a task's questions, after stage {stages[-1].stage}"
    return heat_map(caption, [str(name) for name in names], cells)


def beyond_accuracy(run: Reading) -> Markup | None:
    """Make the table of routing, entropy and transfer, a row a stage; None without any."""
    analysis = run.analysis
    if analysis is None:
        return None
    rows = [
        [
            _text(stage.routing_accuracy, ".1f"),
            _text(stage.entropy, ".3f"),
            _text(stage.normalised_entropy, ".3f"),
            _text(stage.transfer_accuracy, ".1f"),
            _text(stage.transfer_gain, "+.1f"),
        ]
        for stage in analysis.stages
    ]
    if all(cell == MISSING for row in rows for cell in row):
        return None
    header = ["after stage", "routing (%)", "entropy", "normalised", "not trained yet (%)", "gain"]
    forward = analysis.forward_transfer
    told = "" if forward is None else f"{forward:+.1f}"
    numbered = [[str(number), *row] for number, row in enumerate(rows, start=1)]
    return table(header, numbered) + render(_NOTE, forward=told)


def skills(run: Reading) -> Markup | None:
    """Make the table of general ability before training and after stages; None if not measured.

    The two forms of answers and the mean over the skills, then each skill.
    """
    before = run.analysis.general if run.analysis else None
    if before is None or run.analysis is None:
        return None
    measured = [stage for stage in run.analysis.stages if stage.general is not None]
    pages = [before, *(stage.general for stage in measured if stage.general)]
    rows = [
        ["short answers, as the prompt asks", *(f"{page.short:.1f}" for page in pages)],
        ["sentences, to prompts without a tag", *(f"{page.sentences:.1f}" for page in pages)],
        ["mean over skills", *(f"{page.mean:.1f}" for page in pages)],
    ]
    rows += [[skill, *(f"{p.skills[skill]:.1f}" for p in pages)] for skill in before.skills]
    header = ["skill", "before training", *(f"after stage {stage.stage}" for stage in measured)]
    return table(header, rows)


def _text(value: float | None, form: str) -> str:
    return MISSING if value is None else format(value, form)
