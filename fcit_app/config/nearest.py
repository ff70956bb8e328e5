"""The hint in an error's text at the name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def nearest(word: str, choices: Sequence[str], names: Sequence[str] | None = None) -> str:
    """Hint at the closest of ``choices``, shown by its name at the same place in ``names``.

    Returns
    -------
    str
        Empty if nothing is close; starts with a space otherwise.
    """
    near = difflib.get_close_matches(word, choices, n=1)
    if not near:
        return ""
    return f" Did you mean '{(names or choices)[list(choices).index(near[0])]}'?"
