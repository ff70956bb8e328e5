"""What differs between architectures of base models: where their parts are and how they see.

One line a `model_type` of Hugging Face. A new one needs its paths and, if it has eyes, a reader in
``fcit_app.model.towers`` and its placeholders in ``fcit_app.model.placeholders``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from fcit_app.errors import ModelError

Sight = Literal["fixed", "grid", "tiles", "none"]
"""How a picture becomes tokens: a fixed number of patches (LLaVA), a grid of patches as large as
the picture (Qwen2.5-VL), one or more tiles of a fixed size (Idefics3, SmolVLM), or not at all."""

LoraTargets = Literal["ffn", "attention", "ffn+attention"]

_FEED_FORWARD = r"mlp\.(gate_proj|up_proj|down_proj)"
_ATTENTION = r"self_attn\.(q_proj|k_proj|v_proj|o_proj)"


@dataclass(frozen=True)
class Architecture:
    """Paths of a model's parts, as ``named_modules`` writes them.

    Parameters
    ----------
    decoder : str
        The language model without its output layer; its layers are at ``<decoder>.layers.<n>``.
    sight : {"fixed", "grid", "tiles", "none"}
        See ``Sight``.
    tower, projector : str
        The vision tower, and what maps its features to token embeddings; empty without sight.
    feed_forward, attention : str
        Regular expressions of linear layers inside a decoder layer.
    """

    decoder: str
    sight: Sight = "none"
    tower: str = ""
    projector: str = ""
    feed_forward: str = _FEED_FORWARD
    attention: str = _ATTENTION

    @property
    def sees(self) -> bool:
        """Whether it takes pictures."""
        return self.sight != "none"

    @property
    def unquantized(self) -> list[str]:
        """Modules that keep their precision: one is trained, the others are small and delicate.

        Whole paths: transformers 5.23 matches these names from the start of a module's path.
        """
        return [path for path in (self.tower, self.projector, "lm_head") if path]

    def targets(self, wanted: LoraTargets = "ffn") -> dict[str, str]:
        """Give the wanted kinds of layers, each with the pattern of its modules' full names."""
        rules = {"ffn": self.feed_forward, "attention": self.attention}
        layer = re.escape(self.decoder) + r"\.layers\.\d+\."
        return {kind: layer + rules[kind] for kind in wanted.split("+")}


_TILES = Architecture("model.text_model", "tiles", "model.vision_model", "model.connector")
_TEXT = Architecture("model")

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "llava": Architecture(
            "model.language_model", "fixed", "model.vision_tower", "model.multi_modal_projector"
        ),
        "qwen2_5_vl": Architecture(
            "model.language_model", "grid", "model.visual", "model.visual.merger"
        ),
        "idefics3": _TILES,
        "smolvlm": _TILES,
        "llama": _TEXT,
        "mistral": _TEXT,
        "qwen2": _TEXT,
        "qwen3": _TEXT,
    }
)


def architecture_of(kind: object, where: object = "the model") -> Architecture:
    """Look up an architecture.

    Parameters
    ----------
    kind : object
        ``model_type`` of a configuration.
    where : object
        What it was read from, for an error's text.

    Raises
    ------
    ModelError
        If it is none of ``ARCHITECTURES``.
    """
    if kind not in ARCHITECTURES:
        seeing = ", ".join(name for name, known in ARCHITECTURES.items() if known.sees)
        blind = ", ".join(name for name, known in ARCHITECTURES.items() if not known.sees)
        raise ModelError(
            f"{where} describes a model of type '{kind}', which is not supported; allowed are "
            f"{seeing} (with pictures) and {blind} (text alone)."
        )
    return ARCHITECTURES[str(kind)]
