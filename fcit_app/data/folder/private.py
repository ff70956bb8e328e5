"""A client's own data, named by its node's configuration.

Two kinds: a folder in FCIT's layout with that client's shards, used as the run's ``data.root``; or
any folder of LLaVA-style JSON, FCIT or not, whose records are the client's private task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcit_app.data.catalogue import is_private
from fcit_app.data.folder.datasets import INSTRUCTIONS, PARTITIONS, PICTURES
from fcit_app.data.folder.defects import Defect
from fcit_app.data.folder.reader import (
    BadRecords,
    Policy,
    good_records,
    private_parser,
    samples_of,
)
from fcit_app.data.sample import Sample
from fcit_app.errors import DataError

ROOT_KEY, TASK_KEY, STAGES_KEY = "data-root", "data-task", "data-stages"
"""Keys of a SuperNode's ``--node-config``: the folder, the private task's name and its stages."""

_PREFIX = "private/"


@dataclass(frozen=True)
class OwnData:
    """The folder that a node's configuration names.

    Parameters
    ----------
    root : Path
        Absolute.
    task : str
        The private task, such as ``private/radiology``; empty: the folder is in FCIT's layout.
    stages : tuple[int, ...]
        Numbers, from 1, of the stages in which the private task is learnt; empty: in all.
    """

    root: Path
    task: str = ""
    stages: tuple[int, ...] = ()


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


def own_data(node_config: Mapping[str, object]) -> OwnData | None:
    """Read what a SuperNode's node configuration says of the client's own data.

    Parameters
    ----------
    node_config : Mapping[str, object]
        May hold ``data-root`` (absolute path of a folder) and, for a folder of LLaVA-style JSON,
        ``data-task`` (the task's name, else the folder's) and ``data-stages`` (such as ``1,2``).

    Returns
    -------
    OwnData or None
        None if it names no folder.

    Raises
    ------
    DataError
        With all that is wrong: no absolute path (a SuperNode's working directory is not the
        user's), no folder, nothing that is data in it, a wrong name or number of a stage.
    """
    named, task, stages = (node_config.get(key, "") for key in (ROOT_KEY, TASK_KEY, STAGES_KEY))
    if named == "":
        if task == "" and stages == "":
            return None
        raise _wrong([f"{TASK_KEY} and {STAGES_KEY} are not allowed without {ROOT_KEY}"])
    folder = Path(named) if isinstance(named, str) else None
    problems = []
    private = False
    if folder is None or not folder.is_absolute() or not folder.is_dir():
        problems.append(
            f"{ROOT_KEY} = {named!r} is not allowed; allowed: the absolute path of a folder on "
            "this node's machine"
        )
    elif not in_fcit_layout(folder) and not json_files(folder):
        problems.append(
            f"{ROOT_KEY} = {named!r} holds neither {PARTITIONS} or {INSTRUCTIONS} (FCIT's layout) "
            "nor a .json file (a private task); put the data there, see `fcit doctor`"
        )
    else:
        private = not in_fcit_layout(folder)
        if not private and (task != "" or stages != ""):
            problems.append(
                f"{TASK_KEY} and {STAGES_KEY} are not allowed for {named}, which is in FCIT's "
                f"layout: its records are FCIT's tasks; leave them out, or name a folder with "
                f"neither {PARTITIONS} nor {INSTRUCTIONS}"
            )
    name = f"{_PREFIX}{task or (folder.name if folder else '')}"
    if private and not is_private(name):
        problems.append(
            f"{TASK_KEY} = {name.removeprefix(_PREFIX)!r} is not allowed; allowed: a letter or "
            "digit, then up to 63 letters, digits, dots, dashes and underscores (the folder's name "
            "counts if there is none)"
        )
    numbers = _numbers(stages)
    if numbers is None:
        problems.append(
            f"{STAGES_KEY} = {stages!r} is not allowed; allowed: numbers of stages from 1, such as "
            "1,2, or nothing (all)"
        )
    if problems or folder is None or numbers is None:
        raise _wrong(problems)
    return OwnData(folder, name, numbers) if private else OwnData(folder)


def in_fcit_layout(folder: Path) -> bool:
    """Whether a folder is in FCIT's layout, not one of LLaVA-style JSON.

    Pictures of a private task may lie in a folder named ``datasets``, too.
    """
    if any((folder / name).is_dir() for name in (INSTRUCTIONS, PARTITIONS)):
        return True
    return (folder / PICTURES).is_dir() and not json_files(folder)


def json_files(folder: Path) -> tuple[Path, ...]:
    """JSON files that lie directly in a folder, by name."""
    return tuple(sorted(path for path in folder.glob("*.json") if path.is_file()))


def private_test_file(root: Path, task: str) -> Path:
    """Where the server may have test records of a private task, in training records' form.

    Their image paths are relative to the file's folder.
    """
    return root / task / "test.json"


def private_train_file(root: Path, task: str) -> Path:
    """Where training records of a private task may lie that are dealt to all clients."""
    return root / task / "train.json"


def private_samples(folder: Path, task: str, policy: Policy = "refuse") -> PrivateData:
    """Read all of a client's own training data.

    Parameters
    ----------
    folder : Path
        Holds any number of JSON arrays of ``{"image", "conversations"}``; image paths are relative
        to it, and a record of text alone has none.
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
        for found in good_records(file, private_parser, bad)
        # The whole path: two clients' folders may meet in one process, and in its caches.
        for sample in samples_of(found, folder, str(file.resolve().with_suffix("")), task, bad)
    )
    if not samples:
        raise DataError(
            f"{folder}: there is no usable record. {bad.summary() if bad.skipped else ''}"
        )
    return PrivateData(samples, tuple(bad.skipped))


def chosen(samples: Sequence[Sample], most: int, seed: int) -> tuple[Sample, ...]:
    """Take at most so many samples: a seeded choice, in the samples' order."""
    if len(samples) <= most:
        return tuple(samples)
    places = np.random.default_rng(seed).choice(len(samples), most, replace=False)
    return tuple(samples[place] for place in sorted(places))


def _numbers(stages: object) -> tuple[int, ...] | None:
    """Stage numbers, ascending; None if they are no such numbers."""
    parts = str(stages).split(",") if stages != "" else []
    if isinstance(stages, bool) or not all(part.strip().isdecimal() for part in parts):
        return None
    numbers = sorted({int(part) for part in parts})
    return None if 0 in numbers else tuple(numbers)


def _wrong(problems: Sequence[str]) -> DataError:
    return DataError(
        f"this node's configuration: {'; '.join(problems)}. Start the SuperNode with --node-config "
        f"'{ROOT_KEY}=\"/path/to/data\" partition-id=0 num-partitions=5' (and {TASK_KEY}, "
        f"{STAGES_KEY} for a private task)."
    )
