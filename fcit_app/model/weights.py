"""Where the weights of the mini base lie on this machine.

Flower ships an app as a bundle of text files, so a bundled copy of this package has no weights.
They are then taken from the installed distribution, which every machine that runs the app needs
anyway.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from fcit_app.errors import ModelError

DISTRIBUTION = "fcit-disco"
ENVIRONMENT_VARIABLE = "FCIT_MINI_WEIGHTS"
WEIGHTS_FILE = "model.safetensors"
_PLACE_IN_DISTRIBUTION = "fcit_app/model/mini"


def mini_path() -> Path:
    """Find the folder of the mini base: configuration, weights, tokenizer and processor.

    Looked up in this order: the folder named by the environment variable ``FCIT_MINI_WEIGHTS``, the
    folder ``mini`` next to this file, the installed distribution ``fcit-disco`` (a regular or an
    editable install).

    Returns
    -------
    Path
        A folder that holds ``model.safetensors``.

    Raises
    ------
    ModelError
        If no such folder is found, or the environment variable names a folder without weights.
    """
    override = os.environ.get(ENVIRONMENT_VARIABLE)
    if override:
        if _has_weights(Path(override)):
            return Path(override)
        raise ModelError(
            f"{ENVIRONMENT_VARIABLE} is '{override}', but there is no file {WEIGHTS_FILE} in it. "
            "Set it to a folder with the mini base, or unset it to use the installed one."
        )
    candidates = [Path(__file__).resolve().parent / "mini", *_in_distributions()]
    for candidate in candidates:
        if _has_weights(candidate):
            return candidate
    tried = ", ".join(str(candidate / WEIGHTS_FILE) for candidate in candidates)
    raise ModelError(
        f"The weights of the mini base were not found (tried {tried}). Install the package on this "
        f"machine, in the Python that runs the app: 'pip install {DISTRIBUTION}', or "
        f"'pip install -e .' in a checkout; or set {ENVIRONMENT_VARIABLE} to the folder with them."
    )


def _has_weights(folder: Path) -> bool:
    return (folder / WEIGHTS_FILE).is_file()


def _in_distributions() -> Iterator[Path]:
    """Places where installed copies of the distribution keep the mini base."""
    for distribution in metadata.distributions(name=DISTRIBUTION):
        yield Path(str(distribution.locate_file(_PLACE_IN_DISTRIBUTION)))
        origin = distribution.read_text("direct_url.json")
        if origin is None:
            continue
        # an editable install lists no package files: its origin is the checkout itself (PEP 610)
        url = urlparse(str(json.loads(origin).get("url", "")))
        if url.scheme == "file":
            yield Path(url2pathname(url.path)) / _PLACE_IN_DISTRIBUTION
