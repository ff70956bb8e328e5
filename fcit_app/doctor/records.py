"""Examine the records of one JSON file, in memory that grows by a few checksums a record."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fcit_app.data.folder.boxes import box_problem, has_box
from fcit_app.data.folder.datasets import Dataset, Format
from fcit_app.data.folder.defects import Defect
from fcit_app.data.folder.reader import Found, Parse, read_records
from fcit_app.data.folder.records import Record
from fcit_app.doctor.checksums import Checksums, checksum
from fcit_app.doctor.counting import POSITIONS, TokenCounter
from fcit_app.doctor.findings import Findings
from fcit_app.doctor.pictures import Answer, PictureCheck
from fcit_app.errors import DataError

_LETTER = re.compile(r"[A-Z]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass
class Seen:
    """Checksums of what a file holds.

    Parameters
    ----------
    identifiers, samples, paths, contents : Checksums
        The records' own ids; image path with question; image paths; pictures.
    """

    identifiers: Checksums = field(default_factory=Checksums)
    samples: Checksums = field(default_factory=Checksums)
    paths: Checksums = field(default_factory=Checksums)
    contents: Checksums = field(default_factory=Checksums)


@dataclass
class Counts:
    """Records read; of the good ones their turns, and how many of them have no picture."""

    records: int = 0
    samples: int = 0
    text_alone: int = 0


@dataclass(frozen=True)
class Examiner:
    """Examines the files of one data set.

    Parameters
    ----------
    where : str
        Name of the data set in findings.
    findings : Findings
        Gets what is found.
    pictures : PictureCheck or None
        Checks pictures; None where there is no folder of them, which is a finding of its own.
    counter : TokenCounter
        Counts prompts.
    known : Dataset or None
        What the data set promises; None for data that is not FCIT's.
    """

    where: str
    findings: Findings
    pictures: PictureCheck | None
    counter: TokenCounter
    known: Dataset | None

    def file(
        self,
        file: Path,
        parse: Parse,
        on_bytes: Callable[[int], None] | None,
        training: Seen | None = None,
    ) -> tuple[Counts | None, Seen]:
        """Examine one file.

        Parameters
        ----------
        file : Path
            A JSON array.
        parse : Parse
            Its records' parser.
        on_bytes : Callable[[int], None], optional
            Told of progress.
        training : Seen, optional
            What the training file holds, if this is the test file.

        Returns
        -------
        tuple
            Counts, None if the file cannot be used to its end; and checksums.
        """
        seen, counts = Seen(), Counts()
        try:
            for found in read_records(file, parse, on_bytes):
                counts.records += 1
                if isinstance(found, Defect):
                    self.findings.add(found.kind, self.where, str(found))
                else:
                    counts.samples += len(found.record.turns)
                    counts.text_alone += found.record.image is None
                    self._record(found, seen, training)
        except DataError as error:
            self.findings.add("unusable-file", self.where, str(error))
            return None, seen
        finally:
            if self.pictures is not None:
                self.pictures.finish()
        return counts, seen

    def _record(self, found: Found, seen: Seen, training: Seen | None) -> None:
        record, place = found.record, f"{found.file.name}, record {found.position}"
        own = record.identifier
        if own is not None and not seen.identifiers.add(checksum(own)):
            self._add("duplicate-id", f"{place}: id {own!r}")
        if record.image is not None and seen.paths.add(checksum(record.image)):
            self._picture(record.image, place, seen, training)
        for turn in record.turns:
            text = f"{place}: {turn.question[:60]!r}"
            sample = checksum(f"{record.image or ''}\0{turn.question}")
            if not seen.samples.add(sample):
                self._add("duplicate-sample", text)
            elif training is not None and sample in training.samples:
                self._add("leak", text)
            length = self.counter.count(turn.question)
            if length > POSITIONS:
                self._add("long-prompt", f"{place}: {length} tokens")
        if self.known is not None:
            self._promises(self.known, record, place)

    def _picture(self, image: str, place: str, seen: Seen, training: Seen | None) -> None:
        """Check a picture that this file has not named before."""

        def told(image: str, place: str, answer: Answer) -> None:
            if isinstance(answer, tuple):
                kind, what = answer
                self._add(kind, f"{place}: {what}")
                return
            seen.contents.add(answer)
            if training is not None and answer in training.contents:
                self._add("shared-picture", f"{place}: {image}")

        if training is not None and checksum(image) in training.paths:
            self._add("shared-picture", f"{place}: {image}")
        elif self.pictures is not None:
            self.pictures.add(image, place, told)

    def _promises(self, known: Dataset, record: Record, place: str) -> None:
        if record.image is not None and record.image.split("/")[0] != known.prefix:
            self._add("foreign-picture", f"{place}: {record.image}")
        for turn in record.turns:
            problem = format_problem(known.answer_format, turn.question, turn.answer)
            if problem:
                self._add("answer-format", f"{place}: {problem}")
            if known.suffixes and not turn.question.endswith(_ends(known.suffixes)):
                self._add("unknown-suffix", f"{place}: {turn.question[-60:]!r}")

    def _add(self, kind: str, example: str) -> None:
        self.findings.add(kind, self.where, example)


def format_problem(wanted: Format | None, question: str, answer: str) -> str | None:
    """Say how an answer differs from its data set's form; None if it does not.

    Grounding asks both ways: the box may be in the answer, or in a question for a description.
    """
    if wanted == "letter" and not _LETTER.fullmatch(answer):
        return f"the answer must be one capital letter, not {answer[:40]!r}"
    if wanted == "number" and not _NUMBER.fullmatch(answer):
        return f"the answer must be a number, not {answer[:40]!r}"
    if wanted == "box":
        if not has_box(answer) and not has_box(question):
            return f"the answer must be a box '[x1, y1, x2, y2]', not {answer[:40]!r}"
        return box_problem(answer)
    return None


def _ends(suffixes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(suffix.strip() for suffix in suffixes)
