"""Frozen text encoders that turn instructions into the features of identity tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError

from fcit_app.arrays import Array
from fcit_app.errors import ConfigError, ModelError
from fcit_app.identity.clip_tower import load_tower

HASHED_NGRAMS = "hashed-ngrams"
SENTENCE_TRANSFORMERS = "sentence-transformers"
CLIP = "clip"
SPECS = (HASHED_NGRAMS, f"{SENTENCE_TRANSFORMERS}:<folder>", f"{CLIP}:<folder>")
"""What `load_encoder` accepts."""

_BATCH = 64


class TextEncoder(Protocol):
    """A frozen text encoder.

    Attributes
    ----------
    name : str
        The spec that `load_encoder` makes it from.
    dimension : int
        Width d of its features.
    """

    name: str
    dimension: int

    def encode(self, texts: Sequence[str]) -> Array:
        """Features of n texts: (n, d) float32, row i of text i."""
        ...


class HashedNgramEncoder:
    """Hashed counts of lower-case words and word pairs, each row of length 1.

    Needs no weights and no download, and is the same on every machine.

    Parameters
    ----------
    dimension : int
        Number of hash buckets d.
    """

    def __init__(self, dimension: int = 1024) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        self.name = HASHED_NGRAMS
        self.dimension = dimension
        # Counts without signs: a collision can then add to a cosine but never cancel a word.
        self._vectorizer = HashingVectorizer(
            n_features=dimension,
            ngram_range=(1, 2),
            norm="l2",
            alternate_sign=False,
            dtype=np.float64,
        )

    def encode(self, texts: Sequence[str]) -> Array:
        """Features (n, d) float32 of length 1; the zero row for a text without words."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return np.asarray(self._vectorizer.transform(list(texts)).toarray(), dtype=np.float32)


class SentenceTransformerEncoder:
    """A Sentence Transformers checkpoint, e.g. MiniLM; features of length 1.

    Parameters
    ----------
    path_or_name : str
        Folder of the checkpoint, or a name that is already in the local cache; nothing is
        downloaded and no code of the checkpoint is run.

    Raises
    ------
    ModelError
        If the checkpoint cannot be loaded.
    """

    def __init__(self, path_or_name: str) -> None:
        from sentence_transformers import SentenceTransformer

        self.name = f"{SENTENCE_TRANSFORMERS}:{path_or_name}"
        try:
            self._model = SentenceTransformer(
                path_or_name, device="cpu", local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise _unusable(path_or_name, "a Sentence Transformers checkpoint", error) from error
        self._model.eval()
        dimension = self._model.get_embedding_dimension()
        if dimension is None:
            dimension = self._model.encode(["width"], show_progress_bar=False).shape[1]
        self.dimension = int(dimension)

    def encode(self, texts: Sequence[str]) -> Array:
        """Features (n, d) float32 of length 1."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        features = self._model.encode(
            list(texts),
            batch_size=_BATCH,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        return np.asarray(features, dtype=np.float32)


class ClipTextEncoder:
    """CLIP's text tower, as DISCO uses it: `pooler_output`, before CLIP's text projection.

    The feature is the final-norm hidden state at the end-of-text token, not normalised; a text is
    cut at the model's number of positions (77 tokens).

    Parameters
    ----------
    path_or_name : str
        Folder of a CLIP checkpoint (whole or text only, safetensors) with its tokenizer, or a name
        that is already in the local cache; nothing is downloaded and no code of it is run.

    Raises
    ------
    ModelError
        If the checkpoint cannot be loaded or lacks weights of the text tower.
    """

    def __init__(self, path_or_name: str) -> None:
        from transformers import AutoTokenizer, CLIPTextModel

        self.name = f"{CLIP}:{path_or_name}"
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(path_or_name, **local)
            self._model, missing = load_tower(CLIPTextModel, path_or_name)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise _unusable(path_or_name, "a CLIP checkpoint with its tokenizer", error) from error
        if missing:
            absent = ", ".join(missing[:3])
            raise ModelError(
                f"The text encoder {path_or_name!r} lacks weights of CLIP's text tower "
                f"({absent}, ...). Give the folder of a complete CLIP checkpoint."
            )
        self.dimension = int(self._model.config.hidden_size)
        self._positions = int(self._model.config.max_position_embeddings)

    def encode(self, texts: Sequence[str]) -> Array:
        """Features (n, d) float32, not normalised."""
        import torch

        batches = [np.zeros((0, self.dimension), dtype=np.float32)]
        for start in range(0, len(texts), _BATCH):
            inputs = self._tokenizer(
                list(texts[start : start + _BATCH]),
                padding="longest",
                truncation=True,
                max_length=self._positions,
                return_tensors="pt",
            )
            with torch.inference_mode():
                output = self._model(
                    input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
                )
            batches.append(output.pooler_output.float().numpy())
        return np.concatenate(batches)


@lru_cache(maxsize=4)
def load_encoder(spec: str) -> TextEncoder:
    """Load a text encoder, once per process.

    Parameters
    ----------
    spec : str
        "hashed-ngrams", "sentence-transformers:<folder>" or "clip:<folder>".

    Raises
    ------
    ConfigError
        If the spec is none of these.
    ModelError
        If the checkpoint cannot be loaded.
    """
    kind, separator, path = spec.partition(":")
    if kind == HASHED_NGRAMS and not separator:
        return HashedNgramEncoder()
    if kind == SENTENCE_TRANSFORMERS and path:
        return SentenceTransformerEncoder(path)
    if kind == CLIP and path:
        return ClipTextEncoder(path)
    allowed = ", ".join(f'"{allowed}"' for allowed in SPECS)
    raise ConfigError(f'identity.encoder = "{spec}": the text encoder must be one of {allowed}.')


def _unusable(path_or_name: str, wanted: str, error: Exception) -> ModelError:
    return ModelError(
        f"The text encoder {path_or_name!r} cannot be loaded: {error}. Give the folder of {wanted} "
        "(downloaded beforehand: a run never downloads weights)."
    )
