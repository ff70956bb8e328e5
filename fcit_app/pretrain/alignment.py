"""The alignment losses: what every patch shows, said in the language model's own words.

Without them captioning and questions alone stay on a plateau for a long time. Each patch feature is
asked for its symbol and its colour by a linear read-out, and the *projected* feature must predict,
through the tied word embeddings, the words of what the patch shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from fcit_app.data.mini.drawing import Drawing
from fcit_app.data.mini.vocabulary import (
    COLOUR_NAMES,
    NUMBERS,
    PATCH_SIZE,
    PICTURE_SIZE,
    SYMBOLS,
)

_COLOURS = (None, *COLOUR_NAMES)
_SIDE = PICTURE_SIZE // PATCH_SIZE
_LEAST_OVERLAP = 2  # pixels in both directions before a mark counts as part of a patch


def patch_targets(drawings: Sequence[Drawing]) -> tuple[Tensor, Tensor]:
    """Symbol and colour index of every patch, each of shape (pictures, patches), int64."""
    symbols = torch.zeros(len(drawings), _SIDE, _SIDE, dtype=torch.long)
    colours = torch.zeros(len(drawings), _SIDE, _SIDE, dtype=torch.long)
    for index, drawing in enumerate(drawings):
        for mark in drawing.marks:
            left, top, right, bottom = mark.box
            for row in range(_SIDE):
                for column in range(_SIDE):
                    x, y = column * PATCH_SIZE, row * PATCH_SIZE
                    wide = min(right, x + PATCH_SIZE) - max(left, x)
                    high = min(bottom, y + PATCH_SIZE) - max(top, y)
                    if wide > _LEAST_OVERLAP and high > _LEAST_OVERLAP:
                        symbols[index, row, column] = SYMBOLS.index(mark.symbol)
                        colours[index, row, column] = _COLOURS.index(mark.colour)
    return symbols.flatten(1), colours.flatten(1)


class AlignmentLoss(nn.Module):
    """Symbol, colour and word loss of the patches, added with weight one each.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
        Gives the words' positions in the embedding table.
    hidden : int
        Width of the vision tower.
    """

    words: Tensor

    def __init__(self, tokenizer: PreTrainedTokenizerFast, hidden: int) -> None:
        super().__init__()
        self.symbol_head = nn.Linear(hidden, len(SYMBOLS))
        self.colour_head = nn.Linear(hidden, len(_COLOURS))
        self.register_buffer("words", _word_distribution(tokenizer), persistent=False)

    def forward(
        self, features: Tensor, projected: Tensor, embeddings: Tensor, drawings: Sequence[Drawing]
    ) -> Tensor:
        """Sum of the three losses.

        Parameters
        ----------
        features, projected : Tensor
            Shape (pictures, patches, hidden): before and after the projector.
        embeddings : Tensor
            Shape (vocabulary, hidden): the tied word embeddings.
        drawings : Sequence[Drawing]
            The pictures with their marks.
        """
        symbols, colours = (target.flatten() for target in patch_targets(drawings))
        symbol_logits = self.symbol_head(features).float().flatten(0, 1)
        colour_logits = self.colour_head(features).float().flatten(0, 1)
        word_logits = F.linear(projected, embeddings).float().flatten(0, 1)
        words = self.words[symbols, colours]
        return (
            F.cross_entropy(symbol_logits, symbols)
            + F.cross_entropy(colour_logits, colours)
            + F.cross_entropy(word_logits, words)
        )


def _word_distribution(tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Which words a patch should say: shape (symbols, colours, vocabulary), rows sum to one."""
    table = torch.zeros(len(SYMBOLS), len(_COLOURS), len(tokenizer))
    for s, symbol in enumerate(SYMBOLS):
        for c, colour in enumerate(_COLOURS):
            word = _word_of(symbol)
            said = [word] * (word is not None) + [colour] * (colour is not None)
            words = [f" {text}" for text in said or ["No"]]
            table[s, c, tokenizer.convert_tokens_to_ids(words)] = 1 / len(words)
    return table


def _word_of(symbol: str) -> str | None:
    if symbol == "none":
        return None
    if symbol.startswith("letter "):
        return symbol.removeprefix("letter ")
    if symbol.startswith("digit "):
        return NUMBERS[int(symbol.removeprefix("digit "))]
    return symbol
