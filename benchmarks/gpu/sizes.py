"""How large the model and the work of a page are: LLaVA-1.5-7B, or small enough for any CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Size:
    """Model, work and repeats of one kind of run.

    Parameters
    ----------
    name : str
        As on the command line.
    hidden, ffn, layers, heads, vocabulary : int
        Of the language model.
    vision_hidden, vision_ffn, vision_layers, vision_heads, image, patch : int
        Of the vision tower; ``image`` and ``patch`` in pixels.
    picture : tuple[int, int]
        Width and height of the pictures in the data, in pixels.
    tokens, spread : int
        Tokens of a sample, picture and answer included; in rows of mixed lengths they lie evenly
        between ``tokens - spread`` and ``tokens + spread``.
    training_batches, steps : tuple[int, ...], int
        Batches of the training page; steps of a row, the first ``WARM_UP`` of them not counted.
    generation_batches, answer_tokens, repeats : tuple[int, ...], int, int
        Batches of the generation page; new tokens of each answer; counted repeats of a row.
    workers : int
        Loader processes of the plain loop, four in the official recipe, and threads of ours.
    matrix : int
        Rows and columns of the matrices whose product gives the measured peak.
    """

    name: str
    hidden: int
    ffn: int
    layers: int
    heads: int
    vocabulary: int
    vision_hidden: int
    vision_ffn: int
    vision_layers: int
    vision_heads: int
    image: int
    patch: int
    picture: tuple[int, int]
    tokens: int
    spread: int
    training_batches: tuple[int, ...]
    steps: int
    generation_batches: tuple[int, ...]
    answer_tokens: int
    repeats: int
    workers: int
    matrix: int

    @property
    def image_tokens(self) -> int:
        """Tokens of a picture."""
        return (self.image // self.patch) ** 2

    @property
    def decoder_weights(self) -> int:
        """Weights of the decoder's linear layers, which nearly all arithmetic is done with."""
        return self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.ffn)


WARM_UP = 2
"""Steps, or answers, at the start of a row that are not counted."""

SUBSPACES, RANK, SCALING = 8, 8, 2.0
"""Of DISCO's task setting (official code)."""

SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "7b": Size(
            name="7b",
            hidden=4096,
            ffn=11008,
            layers=32,
            heads=32,
            vocabulary=32064,
            vision_hidden=1024,
            vision_ffn=4096,
            vision_layers=24,
            vision_heads=16,
            image=336,
            patch=14,
            picture=(640, 480),
            tokens=680,
            spread=64,
            training_batches=(16, 32),
            steps=6,
            generation_batches=(1, 8, 32, 64),
            answer_tokens=10,
            repeats=3,
            workers=4,
            matrix=8192,
        ),
        "tiny": Size(
            name="tiny",
            hidden=64,
            ffn=128,
            layers=2,
            heads=4,
            vocabulary=320,
            vision_hidden=32,
            vision_ffn=64,
            vision_layers=2,
            vision_heads=4,
            image=24,
            patch=8,
            picture=(40, 30),
            tokens=80,
            spread=8,
            training_batches=(2, 4),
            steps=4,
            generation_batches=(1, 2),
            answer_tokens=3,
            repeats=1,
            workers=0,
            matrix=64,
        ),
    }
)
"""``7b`` has the shapes of LLaVA-1.5-7B with CLIP ViT-L/14 at 336 pixels."""
