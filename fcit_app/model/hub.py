"""Where a base's files lie: the bundled one, a folder, or a checkpoint in the local cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers.utils import hub

from fcit_app.errors import ModelError
from fcit_app.model.weights import mini_path


def base_folder(name: str, revision: str = "") -> Path:
    """Find the folder of a base model; nothing is downloaded.

    Parameters
    ----------
    name : str
        ``mini``, a folder, or ``organisation/model`` as it lies in transformers' own cache.
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
    cache: Any = hub
    options = {"revision": revision or None, "local_files_only": True}
    try:
        return Path(cache.cached_file(name, "config.json", **options)).parent
    except (OSError, ValueError) as error:
        at = f" at revision {revision}" if revision else ""
        raise ModelError(
            f"model.name is '{name}', which is neither a folder nor a checkpoint in the local "
            f"cache{at}. Allowed are 'mini', a local folder in Hugging Face layout (config.json, "
            "*.safetensors, tokenizer and processor files), and a checkpoint's name. A run never "
            "downloads weights: fetch them beforehand with `hf download "
            f"{name}{f' --revision {revision}' if revision else ''} --local-dir FOLDER`, and give "
            "that folder as model.name."
        ) from error
