"""Partitions on disk: one folder a stage, one JSON a client.

``partitioned_data/{Task-related/seq,Capability-related/cap}/<beta>/Task<i>/client_<k>.json``, as
FCIT publishes them and as ``write_partition`` writes them. What a stage teaches is read from its
records' image paths: the official sources disagree about the order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType

from fcit_app.data.catalogue import Setting
from fcit_app.data.folder.datasets import PARTITIONS, dataset, task_of
from fcit_app.data.folder.defects import Defect
from fcit_app.data.folder.reader import read_records, training_parser
from fcit_app.errors import DataError

_BELOW: Mapping[Setting, str] = MappingProxyType(
    {"task": "Task-related/seq", "capability": "Capability-related/cap"}
)
_STAGE = re.compile(r"Task(\d+)")
_CLIENT = re.compile(r"client_(\d+)\.json")
_LOOKED_AT = 200
"""Records that tell the stage: enough to meet each data set of a shuffled pool."""


def partition_folder(root: Path, setting: Setting, beta: float) -> Path:
    """Folder of the partition of one setting and concentration, such as ``.../seq/1.0``."""
    return root / PARTITIONS / _BELOW[setting] / str(float(beta))


def partitions_in(root: Path) -> tuple[tuple[Setting, Path], ...]:
    """All partitions below a root: setting and folder, in order."""
    return tuple(
        (setting, folder)
        for setting, below in _BELOW.items()
        for folder in sorted((root / PARTITIONS / below).glob("*"))
        if folder.is_dir() and not folder.name.startswith(".")
    )


def stage_folders(folder: Path) -> tuple[Path, ...]:
    """Stage folders ``Task<i>`` of a partition by their numbers; empty if there are none."""
    return _numbered(folder, _STAGE)


def client_files(stage: Path) -> tuple[Path, ...]:
    """Client files ``client_<k>.json`` of a stage by their numbers; empty if there are none."""
    return _numbered(stage, _CLIENT)


def stage_name(stage: Path, setting: Setting) -> str:
    """Tell from its records what a stage teaches.

    Returns
    -------
    str
        A task or a capability.

    Raises
    ------
    DataError
        If the records are of no FCIT data set, or of more than one task or capability.
    """
    names: set[str | None] = set()
    shards = (read_records(file, training_parser) for file in client_files(stage))
    for found in islice(chain.from_iterable(shards), _LOOKED_AT):
        if not isinstance(found, Defect):
            task = task_of(found.record.image, found.record.texts)
            names.add(dataset(task).capability if task and setting == "capability" else task)
    if len(names) != 1 or None in names:
        shown = ", ".join(sorted(name or "no FCIT data set" for name in names)) or "nothing"
        raise DataError(
            f"{stage}: its records' image paths speak of {shown}; one stage teaches one {setting}."
        )
    return str(names.pop())


def client_file(folder: Path, setting: Setting, name: str, client: int, clients: int) -> Path:
    """Find the shard of one client.

    Parameters
    ----------
    folder : Path
        The partition.
    setting : {"task", "capability"}
        What its stages are.
    name : str
        Task or capability that is wanted.
    client, clients : int
        Which client of how many, from 0. A folder that holds several clients must hold as many as
        there are; one that holds a single shard is a client's own.

    Raises
    ------
    DataError
        If the partition, the stage or the shard is missing, or is for another number of clients.
    """
    taught = {stage_name(stage, setting): stage for stage in stage_folders(folder)}
    if name not in taught:
        raise DataError(
            f"{folder}: no stage of this partition teaches {name}; "
            f"it teaches {', '.join(taught) or 'nothing'}. Fetch the published partitions, write "
            "one with `fcit partition`, or set data.partition=seeded."
        )
    files = client_files(taught[name])
    if 1 < len(files) != clients:
        raise DataError(
            f"{taught[name]}: it was dealt to {len(files)} clients, but this run has {clients}. "
            f"Use {len(files)} clients, write a partition for {clients} with `fcit partition`, or "
            "set data.partition=seeded."
        )
    file = taught[name] / f"client_{client}.json"
    if file not in files:
        raise DataError(f"{file}: the shard of client {client} is missing.")
    return file


def _numbered(folder: Path, pattern: re.Pattern[str]) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    found = [(pattern.fullmatch(path.name), path) for path in folder.iterdir()]
    return tuple(path for _, path in sorted((int(m.group(1)), path) for m, path in found if m))
