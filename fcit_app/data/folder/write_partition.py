"""Write a partition: seeded, every record dealt once, with a manifest and its hash."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcit_app.data.catalogue import Setting, tasks_of
from fcit_app.data.folder.datasets import dataset
from fcit_app.data.folder.json_stream import read_array
from fcit_app.data.folder.partition import partition_folder
from fcit_app.data.partition import dirichlet_shards, seed_of
from fcit_app.errors import DataError

MANIFEST = "manifest.json"
_BUFFER = 2**16
"""Characters that a shard holds before they are written."""


def write_partition(
    root: Path,
    setting: Setting,
    stages: Sequence[str],
    beta: float,
    clients: int,
    seed: int,
    minimum: int = 1,
    done: Callable[[str], None] | None = None,
) -> Path:
    """Deal the training files to clients and write one JSON each, in the official layout.

    Same arguments and files, same bytes. The official partition drops the remainders of its
    fractions and has no seed; this one deals every record.

    Parameters
    ----------
    root : Path
        Folder of the data.
    setting : {"task", "capability"}
        What the stages are; the data sets of a capability are pooled.
    stages : Sequence[str]
        Tasks or capabilities, in order: they become ``Task1``, ``Task2``, ...
    beta : float
        Dirichlet concentration.
    clients : int
        Number of shards.
    seed : int
        Decides everything that is drawn.
    minimum : int
        Fewest records of a client in a stage.
    done : Callable[[str], None], optional
        Called with the name of each stage that is written.

    Returns
    -------
    Path
        The partition's folder.

    Raises
    ------
    DataError
        If the folder is taken, a training file cannot be used, or there are too few records.
    """
    folder = partition_folder(root, setting, beta)
    if folder.exists():
        raise DataError(f"{folder}: there is a partition already. Move it away, or use it.")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        written = []
        for number, name in enumerate(stages, start=1):
            stage = unfinished / f"Task{number}"
            shard_seed = seed_of(seed, "partition", name)
            written.append(_write_stage(root, stage, name, beta, clients, shard_seed, minimum))
            if done is not None:
                done(name)
        facts: dict[str, Any] = {
            "format": 1,
            "setting": setting,
            "beta": beta,
            "clients": clients,
            "seed": seed,
            "minimum": minimum,
            "stages": written,
        }
        facts["sha256"] = manifest_hash(facts)
        (unfinished / MANIFEST).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        unfinished.rename(folder)
    except OSError as error:
        raise DataError(f"{folder}: it cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def manifest_problems(folder: Path) -> list[str]:
    """Compare a partition with its manifest.

    Returns
    -------
    list[str]
        What differs; empty if nothing does, or the partition has no manifest (published ones have
        none).
    """
    file = folder / MANIFEST
    if not file.is_file():
        return []
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        if facts["sha256"] != manifest_hash(facts):
            return [f"{file}: its hash does not fit its content; it was changed."]
        shards = {
            folder / stage["folder"] / shard["file"]: shard["sha256"]
            for stage in facts["stages"]
            for shard in stage["shards"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{file}: it is no manifest of a partition: {type(error).__name__}: {error}."]
    return [
        f"{shard}: it is not the file that was written (manifest.json)."
        for shard, digest in shards.items()
        if shard.exists() and file_hash(shard) != digest
    ]


def manifest_hash(facts: dict[str, Any]) -> str:
    """SHA-256 of all a manifest says but this: equal for equal partitions."""
    content = {key: value for key, value in facts.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_hash(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_stage(
    root: Path, stage: Path, name: str, beta: float, clients: int, seed: int, minimum: int
) -> dict[str, Any]:
    """Two passes over the training files, to count and to write: memory does not grow."""
    sources = [root / dataset(task).train_path for task in tasks_of(name)]
    counts = [sum(1 for _ in read_array(source)) for source in sources]
    owners = np.zeros(sum(counts), dtype=np.int32)
    for client, shard in enumerate(dirichlet_shards(len(owners), clients, beta, seed, minimum)):
        owners[shard] = client
    stage.mkdir()
    shards = [_Shard(stage / f"client_{client}.json") for client in range(clients)]
    records = (value for source in sources for _, value in read_array(source))
    for owner, value in zip(owners, records, strict=True):
        shards[owner].add(value)
    return {
        "name": name,
        "folder": stage.name,
        "sources": [
            {"file": str(source.relative_to(root)), "records": count, "sha256": file_hash(source)}
            for source, count in zip(sources, counts, strict=True)
        ],
        "shards": [shard.close() for shard in shards],
    }


class _Shard:
    """A JSON array that grows; many of them are written at once without as many open files."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._waiting = ["["]
        self._characters = 0
        self._records = 0

    def add(self, value: object) -> None:
        """Write one more item."""
        text = ("\n" if self._records == 0 else ",\n") + json.dumps(value)
        self._waiting.append(text)
        self._characters += len(text)
        self._records += 1
        if self._characters > _BUFFER:
            self._flush()

    def close(self) -> dict[str, Any]:
        """End the array; name, number of records and hash of the file."""
        self._waiting.append("\n]\n")
        self._flush()
        return {
            "file": self._file.name,
            "records": self._records,
            "sha256": file_hash(self._file),
        }

    def _flush(self) -> None:
        with self._file.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write("".join(self._waiting))
        self._waiting, self._characters = [], 0
