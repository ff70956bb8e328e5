"""Settings as the command line gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fcit_app.errors import ConfigError

if TYPE_CHECKING:
    from fcit_app.config import Scalar


def merged(options: dict[str, str | None], assignments: list[str]) -> dict[str, Scalar]:
    """Options and ``--set`` assignments in one mapping; one key may not be given by both."""
    from fcit_app.config import parse_assignments

    given: dict[str, Scalar] = {key: value for key, value in options.items() if value is not None}
    changed = parse_assignments(assignments)
    twice = [
        f"{key}: given by --{key} ({given[key]}) and by --set ({changed[key]}). Keep one of them."
        for key in given
        if key in changed and changed[key] != given[key]
    ]
    if twice:
        raise ConfigError(twice)
    return given | changed
