"""Predictions on disk: one JSON object a line, so that work that is stopped is not lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fcit_app.errors import RunFolderError
from fcit_app.runs import writing
from fcit_app.runs.atomic import write_bytes


@dataclass(frozen=True)
class Prediction:
    """One question and what a bank made of it.

    Parameters
    ----------
    identifier : str
        Of the sample; unique in its task.
    task, question : str
        See ``Sample``.
    answer : str
        What the model said.
    reference : str
        What it should have said.
    right : Mapping[str, bool] or None
        Each ``evaluate.scoring`` to whether the answer is right by it; None for a caption.
    weights : Mapping[str, float] or None
        Identifier of a subspace to its weight, in the bank's order; None where nothing is routed.
        Shortest decimals that are the same float32 again.
    references : Sequence[str]
        All captions that a caption is compared with, else empty.
    """

    identifier: str
    task: str
    question: str
    answer: str
    reference: str
    right: Mapping[str, bool] | None
    weights: Mapping[str, float] | None
    references: Sequence[str]


class PredictionFile:
    """``predictions.jsonl``.

    Parameters
    ----------
    path : Path
        The file, in an existing folder before anything is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Prediction]:
        """All predictions so far; a last line that was cut off is left out.

        Raises
        ------
        RunFolderError
            If the file cannot be read, or another line than the last is damaged.
        """
        try:
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise RunFolderError(f"{self.path} cannot be read: {error}") from error
        # As in the ledger: after the last line end there is nothing, or part of a line.
        *lines, _ = content.split(b"\n")
        found = []
        for number, line in enumerate(lines, start=1):
            try:
                found.append(Prediction(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise RunFolderError(
                    f"{self.path}, line {number} is damaged: {error}. Delete the file to answer "
                    "its questions again."
                ) from error
        return found

    def append(self, predictions: Iterable[Prediction]) -> None:
        """Write some predictions at the end, all in one piece.

        Raises
        ------
        RunFolderError
            If the file cannot be written.
        """
        with writing(self.path), self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(_lines(predictions))

    def replace(self, predictions: Iterable[Prediction]) -> None:
        """Write the file anew, atomically; nothing happens if it holds just these.

        Raises
        ------
        RunFolderError
            If the file cannot be written.
        """
        content = _lines(predictions).encode()
        with writing(self.path):
            if self.path.is_file() and self.path.read_bytes() == content:
                return
            write_bytes(self.path, content)


def _lines(predictions: Iterable[Prediction]) -> str:
    return "".join(
        json.dumps(asdict(entry), ensure_ascii=False, allow_nan=False) + "\n"
        for entry in predictions
    )
