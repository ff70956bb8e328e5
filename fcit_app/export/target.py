"""The folder that an export becomes: whole or not at all, with checksums, never over another's."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fcit_app.errors import RunFolderError
from fcit_app.runs import writing

CHECKSUMS = "checksums.sha256"
"""``sha256sum --check`` reads it."""


@contextmanager
def export_folder(target: Path, force: bool) -> Iterator[Path]:
    """Give a new folder beside the target, which becomes the target when all has gone well.

    Parameters
    ----------
    target : Path
        Must not exist, unless forced.
    force : bool
        Replace an export that is there; what is no export is never replaced.

    Raises
    ------
    RunFolderError
        If the target is taken, or cannot be written.
    """
    target = target.resolve()
    check_target(target, force)
    part = target.with_name(f".{target.name}.part")
    with writing(target):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    try:
        yield part
        with writing(target):
            _write_checksums(part)
            old = target.with_name(f".{target.name}.replaced")
            if target.exists():
                target.rename(old)
            part.rename(target)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_target(target: Path, force: bool) -> None:
    """Raise ``RunFolderError`` if an export must not go there, see ``export_folder``."""
    if not target.exists():
        return
    if not force:
        raise RunFolderError(f"{target} exists. Choose another --out, or replace it with --force.")
    held = _files(target) if target.is_dir() else {target.name}
    if held - _listed(target):
        raise RunFolderError(
            f"{target} holds what no export has written ({min(held - _listed(target))}), so it is "
            "not replaced. Choose another --out."
        )


def _files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir()}


def _listed(folder: Path) -> set[str]:
    file = folder / CHECKSUMS
    if not file.is_file():
        return set()
    lines = file.read_text(encoding="utf-8").splitlines()
    return {CHECKSUMS, *(line.partition("  ")[2] for line in lines)}


def _write_checksums(folder: Path) -> None:
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in sorted(_files(folder))]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def sha256_of(file: Path) -> str:
    """Hash of a file of any size, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
