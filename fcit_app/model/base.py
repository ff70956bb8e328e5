"""The frozen base: a LLaVA model with its processor, loaded once per process from a folder."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import LlavaForConditionalGeneration, LlavaProcessor
from transformers.utils import logging as transformers_logging

from fcit_app.errors import ModelError
from fcit_app.model.hub import base_folder
from fcit_app.model.precision import loading_options, resolved
from fcit_app.model.settings import BaseSettings, ModelSettings, PromptFormat
from fcit_app.model.weights import WEIGHTS_FILE

if TYPE_CHECKING:
    from peft import PeftModel

_INDEX_FILE = "model.safetensors.index.json"

SOFT_TOKEN = -1
"""Placeholder of a soft prompt's token; no tokenizer has it."""


class Extension(Protocol):
    """What a method adds to the LoRA layers of a wrapped model; compared by its value."""

    def install(self, model: PeftModel) -> None:
        """Add it to a freshly wrapped model."""


class Prefix(Protocol):
    """Soft prompts before each row's tokens."""

    @property
    def length(self) -> int:
        """Soft tokens of a row."""

    def vectors(self) -> Tensor:
        """Their embeddings, shape (batch, length, hidden)."""


@dataclass(eq=False)
class BaseModel:
    """A frozen LLaVA and what belongs to it.

    Parameters
    ----------
    name : str
        What the user asked for: ``mini``, a folder or a checkpoint's name.
    model : LlavaForConditionalGeneration
        In evaluation mode, nothing trainable; the projector in float32 whatever the rest is.
    processor : LlavaProcessor
        Image processor, tokenizer and chat template of the model.
    image_tokens : int
        Placeholder tokens per picture.
    adapted : PeftModel or None
        The same model with LoRA layers in it, once ``fcit_app.model.adapters.wrap`` has run.
    extension : Extension or None
        What ``adapted`` has beside them.
    prefix : Prefix or None
        Soft prompts before each row while a method has them in use (``prefixed``).
    prompt : {"template", "vicuna-v1"}
        Format of prompts, see ``fcit_app.model.prompt``.
    pad_to_square : bool
        Whether pictures are padded before the processor sees them (``fcit_app.model.vision``).
    """

    name: str
    model: Any  # transformers' own annotations do not fit how its models are used
    processor: LlavaProcessor
    image_tokens: int
    adapted: PeftModel | None = None
    extension: Extension | None = None
    prefix: Prefix | None = None
    prompt: PromptFormat = "template"
    pad_to_square: bool = False

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.model.device
        return device

    @property
    def max_length(self) -> int:
        """Longest sequence, in tokens."""
        return int(self.model.config.text_config.max_position_embeddings)

    @contextmanager
    def prefixed(self, prefix: Prefix) -> Iterator[None]:
        """Let soft prompts stand before each row that is encoded inside."""
        self.prefix = prefix
        try:
            yield
        finally:
            self.prefix = None

    def embed(self, input_ids: Tensor, vision: Tensor) -> Tensor:
        """Token embeddings with the projected picture at its placeholders.

        Equals what the model makes of ``pixel_values``, without running the vision tower.

        Parameters
        ----------
        input_ids : Tensor
            Token identifiers, shape (batch, length), ``image_tokens`` placeholders in each row, and
            as many ``SOFT_TOKEN`` as the prefix, if there is one, is long.
        vision : Tensor
            Features before the projector, shape (batch, image_tokens, vision width).

        Returns
        -------
        Tensor
            Shape (batch, length, hidden), ready to be given as ``inputs_embeds``.
        """
        embeddings = self.model.get_input_embeddings()(input_ids.clamp(min=0))
        projected = self.model.model.multi_modal_projector(vision.to(input_ids.device))
        places = (input_ids == self.model.config.image_token_id).unsqueeze(-1)
        embedded: Tensor = embeddings.masked_scatter(places, projected.to(embeddings.dtype))
        if self.prefix is not None:
            soft = (input_ids == SOFT_TOKEN).unsqueeze(-1)
            embedded = embedded.masked_scatter(soft, self.prefix.vectors().to(embedded.dtype))
        return embedded


def load_base(wanted: str | ModelSettings) -> BaseModel:
    """Load a base model, once per process.

    Only local safetensors files are read: no download, no pickle, no code from the folder.

    Parameters
    ----------
    wanted : str or ModelSettings
        The settings of a run, or a name alone: ``mini``, a folder in Hugging Face layout
        (``config.json``, ``*.safetensors``, tokenizer and processor files), or the name of a
        checkpoint in transformers' local cache.

    Raises
    ------
    ModelError
        If the folder or a file in it is missing, damaged or of another architecture, or the
        settings cannot be met on this machine; says which.
    """
    settings = BaseSettings(wanted) if isinstance(wanted, str) else BaseSettings.of(wanted)
    return _load_base(resolved(settings))


@functools.lru_cache(maxsize=1)
def _load_base(settings: BaseSettings) -> BaseModel:
    folder = base_folder(settings.name, settings.revision)
    _check_architecture(folder)
    for file in _weight_files(folder):
        _check_weights(file)
    with _without_progress_bars():
        model = _load_model(folder, settings)
        processor = _load_processor(folder)
    model.requires_grad_(False)
    model.eval()
    vision = model.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    with_class_token = model.config.vision_feature_select_strategy == "full"
    return BaseModel(
        settings.name,
        model,
        processor,
        patches + with_class_token,
        prompt=settings.prompt,
        pad_to_square=settings.pad_to_square,
    )


def _check_architecture(folder: Path) -> None:
    file = folder / "config.json"
    if not file.is_file():
        raise ModelError(f"There is no config.json in {folder}: it is no model folder.")
    try:
        kind = json.loads(file.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{file} is damaged ({error}). Copy it again from its source.") from error
    if kind != "llava":
        raise ModelError(
            f"{file} describes a model of type '{kind}'; only 'llava' is supported "
            "(LLaVA-1.5 and models of the same architecture)."
        )


def _weight_files(folder: Path) -> list[Path]:
    """List the safetensors files of the folder, all of them present."""
    index = folder / _INDEX_FILE
    if index.is_file():
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{index} is damaged. Copy it again from its source.") from error
    else:
        names = {WEIGHTS_FILE}
    missing = sorted(name for name in names if not (folder / name).is_file())
    if not missing:
        return [folder / name for name in sorted(names)]
    pickled = sorted(file.name for file in folder.glob("*.bin"))
    if pickled:
        raise ModelError(
            f"{folder} has only pickled weights ({', '.join(pickled)}), which can run code when "
            f"they are read and are not loaded. Convert them once, on a machine where you trust "
            f"them, with transformers' save_pretrained, which writes {WEIGHTS_FILE}."
        )
    raise ModelError(
        f"{folder / missing[0]} is missing. Copy it again from its source, or name another folder "
        "as model.name."
    )


def _check_weights(file: Path) -> None:
    try:
        with safe_open(file, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{file} is damaged ({error}). Copy it again from its source; for the mini base, "
            "install the package again."
        ) from error


def _load_model(folder: Path, settings: BaseSettings) -> Any:
    loader: Any = LlavaForConditionalGeneration
    try:
        model, report = loader.from_pretrained(
            folder,
            **loading_options(settings),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:
        raise ModelError(
            f"The model in {folder} cannot be built: its config.json and its weights do not go "
            f"together ({error}). Copy the whole folder again from its source."
        ) from error
    # transformers fills missing weights with random numbers and only logs it
    if report["missing_keys"]:
        first = min(report["missing_keys"])
        raise ModelError(
            f"The weights in {folder} lack {len(report['missing_keys'])} tensors, the first is "
            f"'{first}'. Copy the whole folder again from its source."
        )
    if settings.quantization == "none":
        model.to(settings.device)
    # trained in place, so it is a master weight (fcit_app.model.precision)
    model.model.multi_modal_projector.float()
    return model


def _load_processor(folder: Path) -> LlavaProcessor:
    try:
        processor = LlavaProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, TypeError, AttributeError, KeyError, ImportError) as error:
        raise ModelError(
            f"The tokenizer or image processor in {folder} cannot be read ({error}). The folder "
            "needs tokenizer.json, tokenizer_config.json and processor_config.json."
        ) from error
    if processor.chat_template is None:
        raise ModelError(f"The processor in {folder} has no chat template (chat_template.jinja).")
    return processor


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Keep transformers quiet: its bars would garble our own, and loading takes a second."""
    log: Any = transformers_logging
    shown = log.is_progress_bar_enabled()
    log.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            log.enable_progress_bar()
