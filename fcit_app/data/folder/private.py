"""A client's own data: any folder of LLaVA-style JSON, FCIT or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fcit_app.data.folder.defects import Defect
from fcit_app.data.folder.reader import (
    BadRecords,
    Policy,
    good_records,
    samples_of,
    training_parser,
)
from fcit_app.data.sample import Sample
from fcit_app.errors import DataError

NODE_KEY = "data-root"
"""Key of a SuperNode's ``--node-config`` that names the client's own folder."""


@dataclass(frozen=True)
class PrivateData:
    """What a client's own folder gives.

    Parameters
    ----------
    samples : tuple[Sample, ...]
        One for each turn of each record.
    skipped : tuple[Defect, ...]
        Records that were left out.
    """

    samples: tuple[Sample, ...]
    skipped: tuple[Defect, ...]


def own_folder(node_config: Mapping[str, object]) -> Path | None:
    """Folder that a SuperNode's node configuration names; None if it names none.

    Raises
    ------
    DataError
        If it is no absolute path of a folder: a SuperNode's working directory is not the user's.
    """
    named = node_config.get(NODE_KEY)
    if named is None or named == "":
        return None
    folder = Path(named) if isinstance(named, str) else None
    if folder is None or not folder.is_absolute() or not folder.is_dir():
        raise DataError(
            f"This node's configuration says {NODE_KEY} = {named!r}; it must be the absolute path "
            f"of a folder. Start the SuperNode with --node-config \"{NODE_KEY}='/path/to/data'\"."
        )
    return folder


def json_files(folder: Path) -> tuple[Path, ...]:
    """JSON files that lie directly in a folder, by name."""
    return tuple(sorted(path for path in folder.glob("*.json") if path.is_file()))


def private_samples(folder: Path, task: str, policy: Policy = "refuse") -> PrivateData:
    """Read all of a client's own training data.

    Parameters
    ----------
    folder : Path
        Holds any number of JSON arrays of ``{"image", "conversations"}``; image paths are relative
        to it.
    task : str
        What the samples are called; it need not be one of FCIT's.
    policy : {"refuse", "skip"}
        What becomes of bad records.

    Raises
    ------
    DataError
        If there is no JSON file, one cannot be used, or no record can.
    """
    files = json_files(folder)
    if not files:
        raise DataError(f"{folder}: there is no .json file. Put LLaVA-style JSON arrays there.")
    bad = BadRecords(policy)
    samples = tuple(
        sample
        for file in files
        for found in good_records(file, training_parser, bad)
        # The whole path: two clients' folders may meet in one process, and in its caches.
        for sample in samples_of(found, folder, str(file.resolve().with_suffix("")), task, bad)
    )
    if not samples:
        raise DataError(
            f"{folder}: there is no usable record. {bad.summary() if bad.skipped else ''}"
        )
    return PrivateData(samples, tuple(bad.skipped))
