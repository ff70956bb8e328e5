"""Tokenizer, image processor and chat template of a base, loaded from its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor, AutoTokenizer, LlavaProcessor

from fcit_app.errors import ModelError
from fcit_app.model.architectures import Architecture
from fcit_app.model.placeholders import image_token

_LOCAL = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True, eq=False)
class Processor:
    """The parts of a processor that are needed, for architectures other than LLaVA.

    Their own processor classes cannot be made without packages for videos.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        With a chat template.
    image_processor : BaseImageProcessor or None
        None for a model of text alone.
    image_token : str
        Stands for a picture in the chat template's output; empty for a model of text alone.
    """

    tokenizer: Any
    image_processor: Any = None
    image_token: str = ""

    @property
    def chat_template(self) -> str | None:
        """The tokenizer's."""
        template: str | None = self.tokenizer.chat_template
        return template

    def apply_chat_template(self, messages: Any, **options: Any) -> Any:
        """Render messages, see transformers' method of the same name."""
        return self.tokenizer.apply_chat_template(messages, **options)


def load_processor(folder: Path, architecture: Architecture) -> Any:
    """Load what turns pictures and text into a base's input.

    Returns
    -------
    LlavaProcessor or Processor
        Its tokenizer has a padding token: the end of sequence where the checkpoint names none.

    Raises
    ------
    ModelError
        If a file is missing or damaged, or there is no chat template; says which.
    """
    try:
        processor: Any = (
            LlavaProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            if architecture.sight == "fixed"
            else _parts(folder, architecture)
        )
    except (OSError, ValueError, TypeError, AttributeError, KeyError, ImportError) as error:
        raise ModelError(
            f"The tokenizer or image processor in {folder} cannot be read ({error}). The folder "
            "needs tokenizer.json, tokenizer_config.json and, for a model that takes pictures, "
            "processor_config.json or preprocessor_config.json."
        ) from error
    if processor.chat_template is None:
        raise ModelError(f"The processor in {folder} has no chat template (chat_template.jinja).")
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor


def _parts(folder: Path, architecture: Architecture) -> Processor:
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, **_LOCAL)
    if tokenizer.chat_template is None:
        tokenizer.chat_template = _former_template(folder)
    if not architecture.sees:
        return Processor(tokenizer)
    images: Any = AutoImageProcessor
    return Processor(
        tokenizer,
        images.from_pretrained(folder, **_LOCAL),
        image_token(architecture.sight),
    )


def _former_template(folder: Path) -> str | None:
    """Read the file in which older checkpoints keep their chat template, if there is one."""
    file = folder / "chat_template.json"
    if not file.is_file():
        return None
    return str(json.loads(file.read_text(encoding="utf-8"))["chat_template"])
