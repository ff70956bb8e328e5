"""Tables of what a run shows beyond its accuracy matrix."""

from __future__ import annotations

from fcit_app.runs.analysis import RunAnalysis

_MISSING = "–"


def beyond_accuracy(analysis: RunAnalysis) -> list[list[str]] | None:
    """Routing, entropy and transfer: a header, then a row a stage; None if nothing was measured."""
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
    if all(cell == _MISSING for row in rows for cell in row):
        return None
    header = ["after stage", "routing (%)", "entropy", "normalised", "not trained yet (%)", "gain"]
    return [header, *([str(number), *row] for number, row in enumerate(rows, start=1))]


def skill_rows(analysis: RunAnalysis) -> dict[str, list[int] | list[list[str]]] | None:
    """General ability before training and after stages; None if it was not measured.

    Returns
    -------
    dict or None
        ``stages``: numbers of the stages after which it was measured. ``rows``: name, before,
        after; the two forms of answers and the mean over the skills, then each skill.
    """
    before = analysis.general
    measured = [stage for stage in analysis.stages if stage.general is not None]
    if before is None:
        return None
    pages = [before, *(stage.general for stage in measured if stage.general)]
    rows = [
        ["short answers, as the prompt asks", *(f"{page.short:.1f}" for page in pages)],
        ["sentences, to prompts without a tag", *(f"{page.sentences:.1f}" for page in pages)],
        ["mean over skills", *(f"{page.mean:.1f}" for page in pages)],
    ]
    rows += [[skill, *(f"{p.skills[skill]:.1f}" for p in pages)] for skill in before.skills]
    return {"stages": [stage.stage for stage in measured], "rows": rows}


def _text(value: float | None, form: str) -> str:
    return _MISSING if value is None else format(value, form)
