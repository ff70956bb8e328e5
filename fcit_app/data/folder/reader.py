"""From JSON files to samples: bad records are refused, or skipped and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from PIL import Image

from fcit_app.data.folder.captions import read_captions
from fcit_app.data.folder.defects import BadRecordError, Defect, summary
from fcit_app.data.folder.json_stream import read_array
from fcit_app.data.folder.pictures import (
    check_picture,
    find_picture,
    open_picture,
    picture_bytes,
)
from fcit_app.data.folder.records import Record, parse_test, parse_training
from fcit_app.data.sample import Sample
from fcit_app.errors import DataError

_Read = TypeVar("_Read")

Policy = Literal["refuse", "skip"]
"""What becomes of a bad record: an error, or a count."""

Parse = Callable[[object, int], Record]
"""From parsed JSON and its position to a record; raises ``BadRecordError``."""


@dataclass(frozen=True)
class Found:
    """A record with its place.

    Parameters
    ----------
    file : Path
        The JSON file.
    position : int
        Position in its array, from 0.
    record : Record
        What stands there.
    """

    file: Path
    position: int
    record: Record

    def defect(self, error: BadRecordError) -> Defect:
        """Name this place beside what is wrong."""
        return Defect(error.kind, str(self.file), self.position, error.what)


class BadRecords:
    """Refuses bad records, or counts them.

    Parameters
    ----------
    policy : {"refuse", "skip"}
        Raise at the first bad record, or leave it out.

    Attributes
    ----------
    skipped : list[Defect]
        What was left out.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.skipped: list[Defect] = []

    def meet(self, defect: Defect) -> None:
        """Deal with a bad record.

        Raises
        ------
        DataError
            If bad records are refused.
        """
        if self.policy == "refuse":
            raise DataError(
                f"{defect} (With data.on-bad-sample=skip such records are left out and counted; "
                "`fcit doctor` finds all of them.)"
            )
        self.skipped.append(defect)

    def summary(self) -> str:
        """Say what was left out, which must be something."""
        return summary(self.skipped)


def training_parser(raw: object, position: int) -> Record:
    """Parse a training record of FCIT's tasks, which all have pictures, wherever it stands."""
    return parse_training(raw)


def private_parser(raw: object, position: int) -> Record:
    """Parse a record of a private task, with a picture or without, wherever it stands."""
    return parse_training(raw, text_alone=True)


def asking_parser(captions_file: Path | None) -> Parse:
    """Make the parser of a test file; references come from the captions' file if there is one.

    Raises
    ------
    DataError
        If the captions' file cannot be used.
    """
    captions = read_captions(captions_file) if captions_file else ()

    def parse(raw: object, position: int) -> Record:
        if captions_file is None:
            return parse_test(raw)
        if position >= len(captions):
            raise DataError(
                f"{captions_file}: has references for {len(captions)} pictures, fewer than there "
                "are test records; the two files do not belong together."
            )
        return parse_test(raw, captions[position])

    return parse


def read_records(
    file: Path, parse: Parse, on_bytes: Callable[[int], None] | None = None
) -> Iterator[Found | Defect]:
    """Yield every record of a file, or what is wrong with it, in flat memory.

    Raises
    ------
    DataError
        If the file itself cannot be used.
    """
    for position, raw in read_array(file, on_bytes):
        try:
            yield Found(file, position, parse(raw, position))
        except BadRecordError as error:
            yield Defect(error.kind, str(file), position, error.what)


def good_records(file: Path, parse: Parse, bad: BadRecords) -> Iterator[Found]:
    """Yield the records of a file that can be used; the others are refused or counted."""
    for found in read_records(file, parse):
        if isinstance(found, Defect):
            bad.meet(found)
        else:
            yield found


def samples_of(
    found: Found, pictures: Path, name: str, task: str, bad: BadRecords
) -> tuple[Sample, ...]:
    """Make a sample of each turn of a record, with the same picture if it has one.

    Where bad records are skipped the picture is read to its end now, as one that turned out
    unreadable later could no longer be left out; otherwise only its presence is checked.

    Parameters
    ----------
    found : Found
        The record.
    pictures : Path
        Folder to which image paths are relative.
    name : str
        Name of the file, unique among all whose samples meet in one process.
    task : str
        Task of the samples.
    bad : BadRecords
        Judges the picture.

    Returns
    -------
    tuple[Sample, ...]
        Empty if the record was skipped.

    Raises
    ------
    DataError
        If the picture cannot be used and bad records are refused.
    """
    image = found.record.image
    path = None if image is None else pictures / image
    try:
        if path is not None and bad.policy == "skip":
            check_picture(path)
        elif path is not None:
            find_picture(path)
    except BadRecordError as error:
        bad.meet(found.defect(error))
        return ()
    return tuple(
        Sample(
            identifier=f"{name}/{found.position}@{number}",
            task=task,
            question=turn.question,
            answer=turn.answer,
            picture=None if path is None else PictureFile(path, found),
            references=found.record.references,
        )
        for number, turn in enumerate(found.record.turns)
    )


@dataclass(frozen=True)
class PictureFile:
    """The picture of a record, opened when it is looked at.

    Parameters
    ----------
    path : Path
        The file.
    found : Found
        The record, for an error's text.
    """

    path: Path
    found: Found

    def __call__(self) -> Image.Image:
        """Open the picture as RGB.

        Raises
        ------
        DataError
            If it is missing or unreadable; names the record.
        """
        return self._named(open_picture)

    def content(self) -> bytes:
        """Read the file; errors as above."""
        return self._named(picture_bytes)

    def _named(self, read: Callable[[Path], _Read]) -> _Read:
        try:
            return read(self.path)
        except BadRecordError as error:
            raise DataError(str(self.found.defect(error))) from error


def require_folder(folder: Path, what: str) -> None:
    """Check that a folder is there.

    Raises
    ------
    DataError
        If it is not.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: {what} is missing. `fcit doctor` says where to fetch it.")
