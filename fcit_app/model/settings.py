"""How a base model is asked for: where it runs, in which precision, and how it is spoken to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]
Quantization = Literal["none", "nf4", "int8"]
Attention = Literal["eager", "sdpa", "flash_attention_2"]
PromptFormat = Literal["template", "vicuna-v1"]


class ModelSettings(Protocol):
    """The part of a run's configuration that decides its base; see ``config.schema.ModelConfig``.

    Written down here since the room below depends on no other.
    """

    @property
    def name(self) -> str:
        """``mini``, a folder in Hugging Face layout, or a checkpoint's name in the local cache."""

    @property
    def revision(self) -> str:
        """Branch, tag or commit of a checkpoint's name; empty for its main branch."""

    @property
    def device(self) -> Device:
        """Where the base runs; ``auto`` takes a GPU if there is one."""

    @property
    def dtype(self) -> Precision:
        """Precision of the frozen weights; ``auto``: float32 on the CPU, bfloat16 on a GPU."""

    @property
    def quantization(self) -> Quantization:
        """How the language model's frozen weights are packed."""

    @property
    def attention(self) -> Attention:
        """Which of transformers' attention implementations is used."""

    @property
    def prompt(self) -> PromptFormat:
        """Whose prompt format: the base's own chat template, or LLaVA-1.5's."""

    @property
    def pad_to_square(self) -> bool:
        """Whether pictures are padded to squares before the processor sees them."""


@dataclass(frozen=True)
class BaseSettings:
    """``ModelSettings`` as a hashable value; the defaults are those of the mini benchmark."""

    name: str
    revision: str = ""
    device: Device = "auto"
    dtype: Precision = "auto"
    quantization: Quantization = "none"
    attention: Attention = "eager"
    prompt: PromptFormat = "template"
    pad_to_square: bool = False

    @classmethod
    def of(cls, settings: ModelSettings) -> BaseSettings:
        """Copy the settings of a run's configuration."""
        return cls(
            settings.name,
            settings.revision,
            settings.device,
            settings.dtype,
            settings.quantization,
            settings.attention,
            settings.prompt,
            settings.pad_to_square,
        )
