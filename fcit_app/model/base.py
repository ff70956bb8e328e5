"""The frozen base: a model with its processor, loaded once per process from a folder."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.utils import logging as transformers_logging

from fcit_app.errors import ModelError
from fcit_app.model.architectures import Architecture, architecture_of
from fcit_app.model.hub import base_folder
from fcit_app.model.mixed_projector import MixedProjector
from fcit_app.model.precision import keep_gradients_right, loading_options, resolved
from fcit_app.model.processor import load_processor
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


Vision = Tensor | Sequence[Tensor]
"""Features of a batch's pictures before the projector: one tensor a picture, see
``fcit_app.model.towers``; one tensor of all where each has the same number of tokens. Rows without
a picture have none."""


@dataclass(eq=False)
class BaseModel:
    """A frozen model and what belongs to it.

    Parameters
    ----------
    name : str
        What the user asked for: ``mini``, a folder or a checkpoint's name.
    model : PreTrainedModel
        In evaluation mode, nothing trainable; the projector in float32 whatever the rest is.
    processor : LlavaProcessor or Processor
        Image processor, tokenizer and chat template of the model.
    architecture : Architecture
        Where the model's parts are.
    image_tokens : int
        Placeholder tokens of a picture, or of a tile; 0 where pictures have no fixed pieces.
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
    picture_sizes : dict[str, tuple[int, int]]
        Width and height of the pictures seen so far, by the samples' identifiers.
    """

    name: str
    model: Any  # transformers' own annotations do not fit how its models are used
    processor: Any
    architecture: Architecture
    image_tokens: int
    adapted: PeftModel | None = None
    extension: Extension | None = None
    prefix: Prefix | None = None
    prompt: PromptFormat = "template"
    pad_to_square: bool = False
    picture_sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def decoder(self) -> Any:
        """The language model, from embeddings to last hidden states."""
        return self.model.get_submodule(self.architecture.decoder)

    @property
    def tower(self) -> Any:
        """The vision tower of a model that takes pictures."""
        return self.model.get_submodule(self.architecture.tower)

    @property
    def projector(self) -> Any:
        """What maps the tower's features to token embeddings, where there is a tower."""
        return self.model.get_submodule(self.architecture.projector)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.model.device
        return device

    @property
    def max_length(self) -> int:
        """Longest sequence, in tokens."""
        return int(self.model.config.get_text_config().max_position_embeddings)

    @contextmanager
    def prefixed(self, prefix: Prefix) -> Iterator[None]:
        """Let soft prompts stand before each row that is encoded inside."""
        self.prefix = prefix
        try:
            yield
        finally:
            self.prefix = None

    def inputs(
        self, input_ids: Tensor, vision: Vision, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Give the decoder's input: embeddings, and positions where it does not count them itself.

        Parameters
        ----------
        input_ids, vision
            See ``embed``.
        mask : Tensor, optional
            1 at tokens, 0 at padding, shape (batch, length); needed with padding on the left.
        """
        inputs = {"inputs_embeds": self.embed(input_ids, vision)}
        if mask is not None:
            inputs["attention_mask"] = mask
        if self.architecture.sight == "grid":
            inputs["position_ids"] = self._positions(input_ids, vision, mask)
        return inputs

    def embed(self, input_ids: Tensor, vision: Vision) -> Tensor:
        """Token embeddings with the projected picture at its placeholders.

        Equals what the model makes of ``pixel_values``, without running the vision tower.

        Parameters
        ----------
        input_ids : Tensor
            Token identifiers, shape (batch, length), with the placeholders of a picture in each
            row that has one, and as many ``SOFT_TOKEN`` as the prefix, if there is one, is long.
        vision : Tensor or sequence of Tensor
            Features before the projector of the rows that have pictures, in their order, see
            ``fcit_app.model.vision.VisionFeatures.of``.

        Returns
        -------
        Tensor
            Shape (batch, length, hidden), ready to be given as ``inputs_embeds``.

        Raises
        ------
        ModelError
            If there are not as many placeholders as the pictures have tokens.
        """
        embedded: Tensor = self.model.get_input_embeddings()(input_ids.clamp(min=0))
        if self.architecture.sees:
            places = (input_ids == self._image_token_id).unsqueeze(-1)
            projected = embedded.new_empty(0, embedded.shape[-1])
            if len(vision):
                projected = self._projected(vision, places.any(dim=1).squeeze(-1))
            if int(places.sum()) * projected.shape[-1] != projected.numel():
                raise ModelError(
                    f"The prompts for '{self.name}' have {int(places.sum())} placeholders for "
                    f"{projected.numel() // projected.shape[-1]} tokens of pictures: its image "
                    "processor does not fit its configuration. Copy the whole folder again from "
                    "its source."
                )
            embedded = embedded.masked_scatter(places, projected.to(embedded.dtype))
        if self.prefix is not None:
            soft = (input_ids == SOFT_TOKEN).unsqueeze(-1)
            embedded = embedded.masked_scatter(soft, self.prefix.vectors().to(embedded.dtype))
        return embedded

    @property
    def _image_token_id(self) -> int:
        token: int = self.model.config.image_token_id
        return token

    def _projected(self, vision: Vision, pictured: Tensor) -> Tensor:
        """Project a batch's pictures; ``pictured`` says which rows have one, shape (batch,)."""
        projector, device = self.projector, pictured.device
        if isinstance(vision, Tensor):
            units, counts = vision, [1] * len(vision)
        else:
            # what the projector takes as one: a patch of a grid (it merges them itself), or a tile
            kept = 1 if self.architecture.sight == "grid" else 2
            units = torch.cat([picture.reshape(-1, *picture.shape[-kept:]) for picture in vision])
            counts = [picture[..., 0, 0].numel() for picture in vision]
        if isinstance(projector, MixedProjector):
            pieces = torch.zeros(len(pictured), dtype=torch.long, device=device)
            pieces[pictured] = torch.tensor(counts, device=device)
            return projector(units.to(device), pieces)  # type: ignore[no-any-return]
        projected: Tensor = projector(units.to(device))
        return projected

    def _positions(self, input_ids: Tensor, vision: Vision, mask: Tensor | None) -> Tensor:
        """Positions of Qwen2.5-VL: of the text, then in time, height and width; (4, batch, length).

        With those of the text, masks are made as ``generate`` has them made.
        """
        side = self.tower.spatial_merge_size
        grids = [[1, picture.shape[0] * side, picture.shape[1] * side] for picture in vision]
        attended = torch.ones_like(input_ids) if mask is None else mask
        places, _ = self.model.model.get_rope_index(
            input_ids,
            (input_ids == self._image_token_id).int(),
            image_grid_thw=torch.tensor(grids, device=input_ids.device) if grids else None,
            attention_mask=attended,
        )
        text = (attended.cumsum(-1) - 1).clamp(min=0)
        return torch.cat([text[None], places])


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
    architecture = _architecture(folder)
    for file in _weight_files(folder):
        _check_weights(file)
    with _without_progress_bars():
        model = _load_model(folder, settings, architecture)
        processor = load_processor(folder, architecture)
    model.requires_grad_(False)
    model.eval()
    return BaseModel(
        settings.name,
        model,
        processor,
        architecture,
        image_tokens(model.config, architecture),
        prompt=settings.prompt,
        pad_to_square=settings.pad_to_square,
    )


def image_tokens(config: Any, architecture: Architecture) -> int:
    """Tokens of a picture or a tile, see ``BaseModel``; from the model's configuration alone."""
    if architecture.sight not in ("fixed", "tiles"):
        return 0
    vision = config.vision_config
    patches = int((vision.image_size // vision.patch_size) ** 2)
    if architecture.sight == "tiles":
        return patches // int(config.scale_factor**2)
    return patches + int(config.vision_feature_select_strategy == "full")


def _architecture(folder: Path) -> Architecture:
    file = folder / "config.json"
    if not file.is_file():
        raise ModelError(f"There is no config.json in {folder}: it is no model folder.")
    try:
        kind = json.loads(file.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{file} is damaged ({error}). Copy it again from its source.") from error
    return architecture_of(kind, file)


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


def _load_model(folder: Path, settings: BaseSettings, architecture: Architecture) -> Any:
    loader: Any = AutoModelForImageTextToText if architecture.sees else AutoModelForCausalLM
    try:
        model, report = loader.from_pretrained(
            folder,
            **loading_options(settings, architecture.unquantized),
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
    keep_gradients_right(model)
    if architecture.sees:
        # trained in place, so it is a master weight (fcit_app.model.precision)
        model.get_submodule(architecture.projector).float()
    return model


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
