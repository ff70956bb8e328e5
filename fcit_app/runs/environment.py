"""Provenance: what a result was computed with, without paths or names of users."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

COMMIT_VARIABLE = "FCIT_COMMIT"
"""Environment variable by which a launcher tells the app's processes the source's commit:
they run from an unpacked bundle, where git finds nothing."""

_PACKAGES = (
    "fcit-disco",
    "flwr",
    "ray",
    "torch",
    "transformers",
    "peft",
    "sentence-transformers",
    "scikit-learn",
    "safetensors",
    "tokenizers",
    "pydantic",
    "numpy",
)


def describe_environment() -> dict[str, Any]:
    """Describe interpreter, machine, package versions and source commit.

    Returns
    -------
    dict
        ``python``, ``platform``, ``machine``, ``cpu_count``, ``packages`` (name to version, null
        where not installed) and ``commit`` (null where unknown; ``+changes`` if files differ).
    """
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": os.environ.get(COMMIT_VARIABLE) or source_commit(),
    }


def source_commit(root: Path | None = None) -> str | None:
    """Commit of the source tree, or None outside a checkout of its own.

    Parameters
    ----------
    root : Path, optional
        Top folder of the source; by default the one that holds ``fcit_app``.
    """
    root = (root or Path(__file__).parents[2]).resolve()
    top = _git(root, "rev-parse", "--show-toplevel")
    # Installed below some other project's checkout, its commit would say nothing about us.
    if top is None or Path(top).resolve() != root:
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + ("+changes" if _git(root, "status", "--porcelain") else "")


def _git(root: Path, *arguments: str) -> str | None:
    """Answer of a git command, None if git is missing or refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
