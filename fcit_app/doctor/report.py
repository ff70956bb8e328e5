"""What the doctor reports, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from fcit_app.doctor.findings import Finding

Kind = Literal["benchmark", "shards", "private"]
"""FCIT's data sets, nothing but a client's shards of them, or a client's private task."""


@dataclass(frozen=True)
class FileReport:
    """One JSON file.

    Parameters
    ----------
    file : str
        Path below the root.
    records : int or None
        Records, good and bad; None if the file is missing or cannot be used to its end.
    samples : int
        Turns of the good records.
    pictures : int
        Different image paths of the good records.
    expected : int or None
        Records that FCIT's file names tell; None if they tell none.
    text_alone : int
        Good records without a picture.
    """

    file: str
    records: int | None
    samples: int
    pictures: int
    expected: int | None = None
    text_alone: int = 0


@dataclass(frozen=True)
class DatasetReport:
    """One data set: its licence and source are None where we do not know them."""

    name: str
    capability: str | None
    train: FileReport
    test: FileReport | None
    licence: str | None
    pictures_from: str | None


@dataclass(frozen=True)
class PartitionReport:
    """One partition; ``stages`` is the order read from the data, not believed."""

    folder: str
    stages: tuple[str, ...]
    clients: int
    records: int
    manifest: bool


@dataclass(frozen=True)
class Report:
    """Everything that was found.

    Parameters
    ----------
    root : str
        The folder examined.
    kind : {"benchmark", "shards", "private"}
        What it was taken for.
    datasets, partitions, findings
        See there.
    tokens : str
        How prompts were counted.
    pictures : str
        How pictures were checked.
    seconds : float
        How long it took.
    """

    root: str
    kind: Kind
    datasets: tuple[DatasetReport, ...]
    partitions: tuple[PartitionReport, ...]
    findings: tuple[Finding, ...]
    tokens: str
    pictures: str
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether there is no error; warnings do not count."""
        return not any(finding.level == "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return {"sound": self.sound, **asdict(self)}
