"""Charts as inline SVG that take the page's colours, light or dark, with an HTML legend."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fcit_app.report.html import render

PALETTE = (
    *("#2f7ed8", "#d06a0b", "#23935a", "#d6453d", "#9067c6"),
    *("#a0724f", "#cf55a5", "#7f7f7f", "#85851a", "#1590a4"),
)
"""Colours that stand out (3 to 1) on the light page as on the dark one."""

MOST_NAMED = 12
"""With more lines than this a legend says nothing: they are drawn thin, and counted."""

_INK = "#010203"
"""Drawn in this, replaced by the page's own text colour."""

# Text stays text, for search and screen readers; the same numbers always give the same bytes.
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fcit",
    "font.family": "sans-serif",
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True)
class Line:
    """A named line: x and y of its points, in the order of x."""

    name: str
    points: Sequence[tuple[float, float]]


_FIGURE = """<figure>
{{ svg }}
{% if names %}<ul class="legend">{% for name, colour, dashed in names %}
<li><i style="border-color:{{ colour }}"{% if dashed %} class="dashed"{% endif %}></i>
{{- name }}</li>
{%- endfor %}</ul>{% endif %}
<figcaption>{{ caption }}</figcaption></figure>
"""


def line_chart(
    caption: str,
    lines: Sequence[Line],
    x: str,
    y: str,
    limits: tuple[float, float] | None = None,
    logarithmic: bool = False,
    bars: Sequence[float] = (),
) -> Markup:
    """Draw lines over whole numbers.

    Parameters
    ----------
    caption : str
        Stands below, and is the picture's text for who cannot see it.
    lines : Sequence[Line]
        At least one.
    x, y : str
        Labels of the axes.
    limits : tuple, optional
        Of y.
    logarithmic : bool
        Whether y is drawn so; only for positive numbers.
    bars : Sequence[float]
        Where thin upright lines part the picture.
    """
    many = len(lines) > MOST_NAMED
    with rc_context(_STYLE):
        figure, axes = _axes()
        for number, line in enumerate(lines):
            axes.plot(
                *zip(*line.points, strict=True),
                color=PALETTE[number % len(PALETTE)],
                linestyle="-" if number < len(PALETTE) else "--",
                linewidth=0.8 if many else 1.6,
                marker=None if many else "o",
                markersize=3.5,
                alpha=0.7 if many else 1.0,
            )
        for place in bars:
            axes.axvline(place, color=_INK, alpha=0.25, linewidth=0.8)
        if logarithmic:
            axes.set_yscale("log")
        if limits:
            axes.set_ylim(*limits)
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        names = [] if many else [line.name for line in lines]
        return _figure(figure, caption, names)


def stacked_bars(
    caption: str, names: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]], x: str
) -> Markup:
    """Draw a lying bar for each row, from a part for each name, one after the other."""
    with rc_context(_STYLE):
        figure, axes = _axes(height=0.9 + 0.24 * len(rows))
        left = [0.0] * len(rows)
        for number in range(len(names)):
            widths = [parts[number] for _, parts in rows]
            axes.barh(range(len(rows)), widths, left=left, color=PALETTE[number % len(PALETTE)])
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set_xlabel(x)
        return _figure(figure, caption, names)


def number_figures(page: str) -> str:
    """Give each picture of a page its own names for its parts, which are the same in all."""
    before, *pictures = page.split("<svg ")
    named = [
        re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>figure-{number}-", picture) + "</svg>" + rest
        for number, (picture, rest) in enumerate((p.split("</svg>", 1) for p in pictures), start=1)
    ]
    return "<svg ".join([before, *named])


def _axes(height: float = 3.0) -> tuple[Figure, Axes]:
    """Make an empty figure, as wide as a phone shows without making its text small (inches)."""
    figure = Figure(figsize=(4.8, height))
    # Fixed, since to let matplotlib find the margins takes as long as to draw the picture.
    figure.subplots_adjust(left=0.15, right=0.97, top=1 - 0.12 / height, bottom=0.52 / height)
    return figure, figure.add_subplot()


def _figure(figure: Figure, caption: str, names: Sequence[str]) -> Markup:
    shown = [
        (name, PALETTE[number % len(PALETTE)], number >= len(PALETTE))
        for number, name in enumerate(names)
    ]
    return render(_FIGURE, svg=_svg(figure, caption), names=shown, caption=caption)


def _svg(figure: Figure, caption: str) -> Markup:
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = text.replace(_INK, "currentColor")
    opening = render('<svg role="img" aria-label="{{ caption }}"', caption=caption)
    return opening + Markup(text.removeprefix("<svg"))
