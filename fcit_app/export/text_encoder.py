"""The frozen text encoder of which an exported bank's identity tokens were made."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Encode = Callable[[Sequence[str]], Tensor]
"""From n texts to their features, (n, d) float32."""


def text_encoder(bank: str | Path, checkpoint: str = "") -> Encode:
    """Load a bank's encoder; ``checkpoint`` is its folder, if it lies elsewhere than written."""
    facts = json.loads((Path(bank) / "router.json").read_text(encoding="utf-8"))
    place = checkpoint or facts["checkpoint"]
    match facts["encoder"]:
        case "hashed-ngrams":
            return hashed_ngrams()
        case "sentence-transformers":
            return sentence_transformer(place)
        case _:
            return clip_text_tower(place)


def hashed_ngrams() -> Encode:
    """Count words and word pairs, hashed; needs no weights."""
    from sklearn.feature_extraction.text import HashingVectorizer

    grams = HashingVectorizer(n_features=1024, ngram_range=(1, 2), alternate_sign=False)
    return lambda texts: torch.from_numpy(grams.transform(list(texts)).toarray()).float()


def sentence_transformer(checkpoint: str) -> Encode:
    """Load a Sentence Transformers checkpoint; features of length 1."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(checkpoint, device="cpu")
    return lambda texts: torch.from_numpy(model.encode(list(texts), normalize_embeddings=True))


def clip_text_tower(checkpoint: str) -> Encode:
    """Load CLIP's text tower; pooled features before its projection."""
    from transformers import AutoTokenizer, CLIPTextModel

    tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
    tower: Any = CLIPTextModel.from_pretrained(checkpoint, dtype=torch.float32)
    tower.eval()
    longest = tower.config.max_position_embeddings
    options = {"padding": True, "truncation": True, "max_length": longest, "return_tensors": "pt"}

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> Tensor:
        features: Tensor = tower(**tokenizer(list(texts), **options)).pooler_output
        return features

    return encode
