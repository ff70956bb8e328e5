"""Heat maps as tables: numbers that can be selected and read aloud, on a colour for their size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from markupsafe import Markup

from fcit_app.report.html import render

_DARK, _LIGHT = "#000000", "#ffffff"


@dataclass(frozen=True)
class Cell:
    """One number of a heat map.

    Parameters
    ----------
    text : str
        What is written.
    share : float or None
        How far from the smallest (0) to the largest colour (1); None for none.
    mark : bool
        Whether it is framed.
    """

    text: str = ""
    share: float | None = None
    mark: bool = False

    @property
    def style(self) -> str:
        """CSS of the cell's two colours, empty without a share."""
        if self.share is None:
            return ""
        ground = colour(self.share)
        return f"background:{ground};color:{text_colour(ground)}"


_TEMPLATE = """<div class="wide"><table class="heat">
<caption>{{ caption }}</caption>
<thead><tr><td></td>{% for name in columns %}
<th scope="col"><span>{{ name }}</span></th>{% endfor %}</tr></thead>
<tbody>
{% for name, row in rows %}
<tr><th scope="row">{{ name }}</th>
{%- for cell in row %}<td{% if cell.style %} style="{{ cell.style }}"{% endif %}
{%- if cell.mark %} class="mark"{% endif %}>{{ cell.text }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
"""


def heat_map(
    caption: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]]
) -> Markup:
    """Make a heat map: a named row of cells each, one under each column's name."""
    return render(_TEMPLATE, caption=caption, columns=columns, rows=rows)


@cache
def colour(share: float) -> str:
    """Colour of a share, 0 to 1, as ``#rrggbb``: viridis, which grows lighter all the way."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return to_hex(colormaps["viridis"](min(1.0, max(0.0, share))))


def text_colour(ground: str) -> str:
    """Black or white, whichever is read better on a ground ``#rrggbb``; at least 4.5 to 1."""
    return max((_DARK, _LIGHT), key=lambda ink: contrast(ink, ground))


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours ``#rrggbb``, 1 to 21 (WCAG 2.2, 1.4.3)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
