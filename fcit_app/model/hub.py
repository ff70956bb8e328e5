"""Where a base's files lie: the bundled one, a folder, or a checkpoint in the local cache."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from transformers.utils import hub

from fcit_app.errors import ModelError
from fcit_app.model.weights import mini_path

_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def base_folder(name: str, revision: str = "") -> Path:
    """Find the folder of a base model; nothing is downloaded.

    Parameters
    ----------
    name : str
        ``mini``, a folder, or ``organisation/model`` as downloaded into transformers' own cache.
    revision : str
        Branch, tag or commit of a checkpoint in the cache; empty for the main branch.

    Raises
    ------
    ModelError
        If there is no such folder, nor such a checkpoint in the cache.
    """
    if name == "mini":
        return mini_path()
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if not _HUB_NAME.fullmatch(name):
        raise ModelError(
            f"model.name is '{name}', which is no folder. Allowed are 'mini' and a local folder in "
            "Hugging Face layout (config.json, *.safetensors, tokenizer and processor files)."
        )
    try:
        cache: Any = hub
        options = {"revision": revision or None, "local_files_only": True}
        return Path(cache.cached_file(name, "config.json", **options)).parent
    except (OSError, ValueError) as error:
        wanted = f" --revision {revision}" if revision else ""
        raise ModelError(
            f"model.name is '{name}', which is neither a folder nor a checkpoint in the local cache"
            f"{f' at revision {revision}' if revision else ''}. A run never downloads weights: "
            f"fetch it beforehand with `hf download {name}{wanted}`, or give the folder that holds "
            "it as model.name."
        ) from error
