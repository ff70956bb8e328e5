"""Writing files so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fcit_app.errors import RunFolderError
from fcit_app.runs.disk import keeping


def write_bytes(path: Path, content: bytes, before: Callable[[], object] = lambda: None) -> None:
    """Write a file under a temporary name, sync it and rename it into place.

    Parameters
    ----------
    path : Path
        The file.
    content : bytes
        All of it.
    before : Callable[[], object], optional
        Called when the new file is safe on disk, before it takes the old one's place.

    Raises
    ------
    RunFolderError
        If the disk is full, or not to be written to; what was there before is whole.
    """
    temporary = path.with_name(f".{path.name}.part")
    with keeping(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            before()
            temporary.replace(path)
        except OSError:
            # Nobody reads it, and on a full disk others need its room.
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; numbers must be finite.

    Raises
    ------
    ValueError
        If a number is not finite, which JSON cannot hold.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    RunFolderError
        If the file is missing or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunFolderError(f"{path} does not exist.") from None
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{path} cannot be read as JSON: {error}. Put it right, or copy it from a backup."
        ) from error
    if not isinstance(content, dict):
        raise RunFolderError(f"{path} holds no JSON object.")
    return content


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the platform can open folders."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
