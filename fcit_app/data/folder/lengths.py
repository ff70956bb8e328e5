"""How many tokens a text takes, where no tokenizer is at hand: an estimate, and named as such."""

from __future__ import annotations

import re

CONTEXT = 2048
"""Tokens of LLaVA-1.5's context in FCIT (``model_max_length``)."""
IMAGE_TOKENS = 576
"""Tokens that a picture takes of it (24 x 24 patches)."""

_LETTERS_A_TOKEN = 8
_PART = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|_+")


def estimated_tokens(text: str) -> int:
    """Estimate the tokens of a text for CLIP's tokenizer, without its two end marks.

    The text is cut as CLIP's tokenizer cuts it before it merges (a run of letters, each digit, a
    run of other marks); a run of letters counts one token per eight letters begun. Rare words may
    take more.
    """
    return sum(
        -(-len(part) // _LETTERS_A_TOKEN) if part[0].isalpha() else 1
        for part in _PART.findall(text)
    )
