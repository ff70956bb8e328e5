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
<thead><tr>{% for name in header %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
"""


def table(header: list[str], rows: list[list[str]]) -> Markup:
    """Make a plain table; the first cell of a row is its name."""
    return render(_TABLE, header=header, rows=rows)
