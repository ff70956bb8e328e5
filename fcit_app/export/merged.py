"""An adapter baked into its base: full weights that need no PEFT."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from fcit_app.model.architectures import Architecture

_TEXTS = (".json", ".jinja", ".txt", ".model")
"""Files of tokenizer and processor."""


def merge_into_base(base: Path, adapter: Path, architecture: Architecture, out: Path) -> None:
    """Merge an exported adapter with stock tools alone, and write the whole model.

    In the precision of the base's files, never quantized.

    Parameters
    ----------
    base, adapter : Path
        Folders of base and adapter.
    architecture : Architecture
        Of the base.
    out : Path
        An existing folder that gets weights, configuration, tokenizer and processor.
    """
    loader: Any = AutoModelForImageTextToText if architecture.sees else AutoModelForCausalLM
    local = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
    model = loader.from_pretrained(base, dtype="auto", **local)
    merged: Any = PeftModel.from_pretrained(model, str(adapter))
    merged.merge_and_unload(safe_merge=True).save_pretrained(out)
    for file in base.iterdir():
        wanted = file.suffix in _TEXTS and not file.name.endswith(".index.json")
        if wanted and not (out / file.name).exists():
            shutil.copyfile(file, out / file.name)
