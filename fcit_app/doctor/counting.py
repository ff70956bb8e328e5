"""Count the tokens of prompts: with a tokenizer's folder, or by an estimate that says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fcit_app.data.folder.lengths import estimated_tokens
from fcit_app.errors import DataError

POSITIONS = 77
"""Tokens that CLIP's text encoder sees, its two end marks included."""
_END_MARKS = 2


class TokenCounter:
    """Counts the tokens that a text encoder would see, end marks included.

    Parameters
    ----------
    folder : Path, optional
        A tokenizer in Hugging Face layout; without it, see ``estimated_tokens``.

    Raises
    ------
    DataError
        If the folder holds no tokenizer.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.how = "estimated (give the encoder's tokenizer by --tokenizer for exact numbers)"
        self.count: Callable[[str], int] = _estimate
        if folder is not None:
            self.how = f"counted with the tokenizer in {folder}"
            self.count = _load(folder)


def _estimate(text: str) -> int:
    return estimated_tokens(text) + _END_MARKS


def _load(folder: Path) -> Callable[[str], int]:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{folder}: there is no tokenizer in Hugging Face layout: {error}. Give the folder of "
            "the text encoder, or leave the option out."
        ) from error

    def count(text: str) -> int:
        return len(tokenizer(text)["input_ids"])

    return count
