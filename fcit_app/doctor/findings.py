"""What the doctor may find, how grave it is and how it is mended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Level = Literal["error", "warning"]

EXAMPLES = 3
"""Places that are named of each kind of finding."""


@dataclass(frozen=True)
class Rule:
    """One kind of finding.

    Parameters
    ----------
    level : {"error", "warning"}
        An error stops a run or makes its numbers wrong; a warning is for the user to judge.
    what : str
        What it means, in a few words.
    mend : str
        What to do about it.
    """

    level: Level
    what: str
    mend: str


_LEAVE_OUT = "Mend the record, leave it out, or run with data.on-bad-sample=skip."

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "missing-file": Rule("error", "a file is missing", "Fetch it; the source is named."),
        "missing-folder": Rule("error", "a picture folder is missing", "Fetch it from its source."),
        "unusable-file": Rule("error", "a file cannot be used", "Fetch it again."),
        "no-object": Rule("error", "records are no objects", _LEAVE_OUT),
        "no-image": Rule("error", "records name no picture", _LEAVE_OUT),
        "outside-root": Rule("error", "image paths leave the folder", _LEAVE_OUT),
        "missing-image": Rule("error", "pictures are missing", "Fetch the data set's pictures."),
        "unreadable-image": Rule("error", "pictures cannot be read", "Fetch them again."),
        "no-question": Rule("error", "records have no question", _LEAVE_OUT),
        "no-answer": Rule("error", "records have no assistant turn", _LEAVE_OUT),
        "placeholder-in-text": Rule("error", "<image> stands inside a text", _LEAVE_OUT),
        "not-unicode": Rule("error", "texts hold half a character", _LEAVE_OUT),
        "answer-too-long": Rule("error", "answers exceed the context (estimated)", _LEAVE_OUT),
        "leak": Rule(
            "error",
            "test questions with their pictures are in the training file",
            "Take them out of the training file.",
        ),
        "answer-format": Rule("error", "answers are not in the data set's form", _LEAVE_OUT),
        "partition": Rule("error", "a partition is not sound", "Fetch or write it again."),
        "duplicate-id": Rule("warning", "ids occur more than once", "Nothing depends on ids here."),
        "duplicate-sample": Rule(
            "warning", "picture and question occur more than once", "They count more than once."
        ),
        "shared-picture": Rule(
            "warning", "pictures are in training and test", "Other questions, the same pictures."
        ),
        "long-prompt": Rule(
            "warning",
            "questions exceed the encoder's 77 tokens",
            "Their ends do not reach the identity token (nor do they in the official code).",
        ),
        "foreign-picture": Rule(
            "warning", "image paths of another data set", "Is it the right file?"
        ),
        "unknown-suffix": Rule(
            "warning", "questions without the data set's suffix", "Is it the right file?"
        ),
    }
)
"""Name of each kind of finding to what it means."""


@dataclass(frozen=True)
class Finding:
    """All of one kind in one place.

    Parameters
    ----------
    kind : str
        Key of ``RULES``.
    level : {"error", "warning"}
        See ``Rule``.
    where : str
        Data set, partition or file.
    count : int
        How often.
    examples : tuple[str, ...]
        The first of them.
    mend : str
        What to do.
    """

    kind: str
    level: Level
    where: str
    count: int
    examples: tuple[str, ...]
    mend: str


class Findings:
    """Counts findings; keeps the first few of each kind, so that memory does not grow."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._examples: dict[tuple[str, str], list[str]] = {}

    def add(self, kind: str, where: str, example: str) -> None:
        """Count one more."""
        key = (where, kind)
        self._counts[key] = self._counts.get(key, 0) + 1
        kept = self._examples.setdefault(key, [])
        if len(kept) < EXAMPLES:
            kept.append(example)

    def all(self) -> tuple[Finding, ...]:
        """Give all findings: errors before warnings, else in the order they were met."""
        found = [
            Finding(
                kind,
                RULES[kind].level,
                where,
                count,
                tuple(self._examples[where, kind]),
                RULES[kind].mend,
            )
            for (where, kind), count in self._counts.items()
        ]
        return tuple(sorted(found, key=lambda finding: finding.level != "error"))
