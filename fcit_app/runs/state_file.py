"""The saved state: arrays and facts of one moment in one file, with the moment before beside it.

``round.safetensors`` is the newest state, ``previous.safetensors`` the one before. A state is
written under a temporary name and synced; then the newest becomes the previous, and the new one the
newest: whenever that stops, one whole state can be read. Each holds a checksum of all it says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fcit_app.arrays import Array, Arrays
from fcit_app.errors import RunFolderError
from fcit_app.runs.atomic import write_bytes

FORMAT = 1
"""Version of the file's layout; files from before there were versions have none, and no checksum.
"""

NEWEST, PREVIOUS = "round.safetensors", "previous.safetensors"


@dataclass(frozen=True)
class SavedState:
    """What was read back.

    Parameters
    ----------
    arrays : Arrays
        Name to array.
    meta : Mapping
        The facts saved with them.
    note : str
        Why this is not the newest state; empty if it is.
    """

    arrays: Arrays
    meta: Mapping[str, Any]
    note: str = ""


class _NewerFormatError(RunFolderError):
    """A file of a later version: to go back to an older state would lose what is sound."""


def write_state(folder: Path, arrays: Arrays, meta: Mapping[str, Any]) -> None:
    """Make this the newest state, and the newest so far the previous one.

    Parameters
    ----------
    folder : Path
        An existing folder.
    arrays : Arrays
        Name to array; equal arrays take up space once.
    meta : Mapping
        JSON with finite numbers.

    Raises
    ------
    ValueError
        If a number in ``meta`` is not finite.
    """
    text = json.dumps(meta, ensure_ascii=False, allow_nan=False)
    # safetensors writes an array's memory as it lies: a transposed view would be garbled.
    plain = {name: np.array(array, order="C") for name, array in arrays.items()}
    digests = {name: _digest(array) for name, array in plain.items()}
    first = {digest: name for name, digest in reversed(digests.items())}
    same = {name: first[digest] for name, digest in digests.items() if first[digest] != name}
    stored = {name: array for name, array in plain.items() if name not in same}
    facts = {
        "format": str(FORMAT),
        "meta": text,
        "same": json.dumps(same),
        "sha256": _checksum(digests, text),
    }
    content = save(stored, metadata=facts)
    newest = folder / NEWEST
    write_bytes(
        newest,
        content,
        before=lambda: newest.replace(folder / PREVIOUS) if newest.exists() else None,
    )


def read_state(folder: Path) -> SavedState:
    """Read the newest state that is whole.

    Raises
    ------
    RunFolderError
        If there is none, or the newest is of a later version than this one knows.
    """
    problems = []
    for name in (NEWEST, PREVIOUS):
        path = folder / name
        if not path.is_file():
            continue
        try:
            arrays, meta = _read(path)
        except _NewerFormatError:
            raise
        except RunFolderError as error:
            problems.append(str(error))
            continue
        if name == PREVIOUS and not problems:
            problems = [f"{folder / NEWEST} is missing: writing it was interrupted."]
        note = f"{problems[0]} The state saved before it is used." if problems else ""
        return SavedState(arrays, meta, note)
    if problems:
        raise RunFolderError(" ".join([*problems, "No whole state is left: start the run anew."]))
    raise RunFolderError(f"{folder.parent} holds no saved state: {folder / NEWEST} does not exist.")


def read_part(folder: Path, wanted: Callable[[str], bool]) -> SavedState:
    """Read some arrays of the newest state that can be read, for a look at it.

    The rest of the file, which may be gigabytes, stays unread; so its checksum is not compared.

    Parameters
    ----------
    folder : Path
        Where the states are.
    wanted : Callable
        From an array's name to whether it is read.

    Raises
    ------
    RunFolderError
        If no state can be read.
    """
    problems = []
    for path in (folder / NEWEST, folder / PREVIOUS):
        try:
            with safe_open(path, framework="numpy") as file:
                facts = file.metadata()
                kept = {name: name for name in file.keys()}  # noqa: SIM118
                kept |= json.loads(facts.get("same", "{}"))
                arrays = {name: file.get_tensor(kept[name]) for name in kept if wanted(name)}
                return SavedState(arrays, json.loads(facts["meta"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            problems.append(f"{path.name}: {error}")
    raise RunFolderError(f"{folder} holds no state that can be read ({'; '.join(problems)}).")


def put_right(folder: Path) -> None:
    """Make the newest whole state the newest, so that no damaged one can push it out."""
    newest, previous = folder / NEWEST, folder / PREVIOUS
    if read_state(folder).note:
        previous.replace(newest)


def _read(path: Path) -> tuple[Arrays, dict[str, Any]]:
    damaged = f"The saved state {path} is damaged"
    try:
        with safe_open(path, framework="numpy") as file:
            facts = file.metadata()
            version = int(facts.get("format", "0"))
            if version > FORMAT:
                raise _NewerFormatError(
                    f"The saved state {path} has format {version}; this version of fcit-disco "
                    f"knows formats up to {FORMAT}. Go on with the version that wrote it, or "
                    "a later one."
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = facts["meta"]
        meta = json.loads(text)
        if version:
            arrays |= {name: arrays[held] for name, held in json.loads(facts["same"]).items()}
            digests = {name: _digest(array) for name, array in arrays.items()}
            if _checksum(digests, text) != facts["sha256"]:
                raise RunFolderError(f"{damaged}: its checksum is not that of its content.")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(f"{damaged}: {error}") from error
    return arrays, meta


def _digest(array: Array) -> str:
    found = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _checksum(digests: Mapping[str, str], text: str) -> str:
    named = json.dumps(sorted(digests.items())) + text
    return hashlib.sha256(named.encode()).hexdigest()
