"""Where the Flower app lies that ``flwr run`` bundles."""

from __future__ import annotations

from pathlib import Path

import fcit_app
from fcit_app.errors import RunError


def find_app_dir(package_file: str | None = None) -> Path:
    """Folder with the app's ``pyproject.toml``, beside the ``fcit_app`` package in use.

    Parameters
    ----------
    package_file : str, optional
        ``__file__`` of the package; that of ``fcit_app`` by default.

    Raises
    ------
    RunError
        If there is none: the program was installed from a wheel, which carries no
        ``pyproject.toml``.
    """
    root = Path(package_file or str(fcit_app.__file__)).resolve().parents[1]
    if not (root / "pyproject.toml").is_file():
        raise RunError(
            f"There is no pyproject.toml in {root}, which `flwr run` needs. Run from a source "
            "checkout: clone the repository, then `make setup` (or `pip install -e .`)."
        )
    return root
