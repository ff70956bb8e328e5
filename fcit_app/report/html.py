"""From a template and values to HTML; whatever a value holds is escaped."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

MISSING = "–"
"""What stands where a number does not apply."""

_ENVIRONMENT = Environment(
    autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
)


def render(template: str, **values: Any) -> Markup:
    """Fill a template; ``Markup`` among the values stays as it is.

    Templates are Python text, beside what fills them: Flower's app bundle carries no HTML files.
    """
    return Markup(_compiled(template).render(values))


@cache
def _compiled(template: str) -> Template:
    return _ENVIRONMENT.from_string(template)


_TABLE = """<div class="wide"><table>
<thead><tr>{% for name, kind in header %}
<th scope="col"{{ kind }}>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for name, cells in rows %}
<tr><th scope="row">{{ name }}</th>
{% for cell, kind in cells %}<td{{ kind }}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
"""


def table(header: list[str], rows: list[list[str]]) -> Markup:
    """Make a plain table; the first cell of a row is its name, words stand left and numbers right.

    Parameters
    ----------
    header : list[str]
        Titles of the columns.
    rows : list[list[str]]
        At least one; each as long as the header.
    """
    kinds = [
        Markup(' class="text"') if any(cell[:1].isalpha() for cell in column) else Markup("")
        for column in zip(*rows, strict=True)
    ]
    return render(
        _TABLE,
        header=list(zip(header, kinds, strict=True)),
        rows=[(row[0], list(zip(row, kinds, strict=True))[1:]) for row in rows],
    )
