"""What can be wrong with a record or file, each by a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fcit_app.errors import DataError

Kind = Literal[
    "no-object",
    "no-image",
    "outside-root",
    "missing-image",
    "unreadable-image",
    "no-question",
    "no-answer",
    "placeholder-in-text",
    "not-unicode",
    "answer-too-long",
]
"""Kinds of a record that cannot be learnt from or asked; ``fcit doctor`` knows further ones."""


class BadRecordError(DataError):
    """A record that cannot be used.

    Parameters
    ----------
    kind : Kind
        Name of the defect.
    what : str
        What is wrong, what is allowed and how to mend it; says neither file nor record.
    """

    def __init__(self, kind: Kind, what: str) -> None:
        super().__init__(what)
        self.kind: Kind = kind
        self.what = what


@dataclass(frozen=True)
class Defect:
    """A record that cannot be used, with its place.

    Parameters
    ----------
    kind : Kind
        Name of the defect.
    file : str
        The JSON file.
    record : int
        Position in the file's array, from 0.
    what : str
        What is wrong and how to mend it.
    """

    kind: Kind
    file: str
    record: int
    what: str

    def __str__(self) -> str:
        return f"{place(self.file, self.record)}: {self.what}"


def summary(defects: Sequence[Defect]) -> str:
    """Say how many records were left out, by kind, and which was the first."""
    kinds = Counter(defect.kind for defect in defects)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return f"{len(defects)} records skipped ({counts}); the first: {defects[0]}"


def place(file: str, record: int) -> str:
    """Name a record's place for an error's text."""
    return f"{file}, record {record} (counted from 0)"
