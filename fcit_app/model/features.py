"""What a sample is recognised by: the features that identity tokens are means of.

Clients make their tokens from them and inference compares questions with tokens by them, so both
use the same object. None of them looks at an answer.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from fcit_app.arrays import Array
from fcit_app.data.sample import Sample, picture_of
from fcit_app.errors import DataError, ModelError
from fcit_app.identity.encoders import TextEncoder
from fcit_app.identity.pictures import ClipPictureEncoder, load_picture_encoder
from fcit_app.identity.reduction import reduced
from fcit_app.model.base import Vision
from fcit_app.model.vision import VisionFeatures, padded_to_square

_CHUNK = 64
"""Pictures whose patches are held at once: those of a whole shard would be large."""

TokenSource = Literal["text", "image", "text+image"]


class SampleFeatures(Protocol):
    """Features of samples, by a frozen encoder."""

    def of(self, samples: Sequence[Sample]) -> Array:
        """Features of n samples: (n, d) float32, row i of sample i."""
        ...

    def key(self, sample: Sample) -> str:
        """Say what of a sample decides its feature: equal keys, equal features."""
        ...


class QuestionFeatures:
    """The text encoder's feature of the question (DISCO; the paper's choice).

    Parameters
    ----------
    encoder : TextEncoder
        Sees the question only.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    def of(self, samples: Sequence[Sample]) -> Array:
        """Features (n, d) float32, as the encoder scales them."""
        return self._encoder.encode([sample.question for sample in samples])

    def key(self, sample: Sample) -> str:
        """Give the question: many samples share one."""
        return sample.question


class ClipPictureFeatures:
    """CLIP's feature of the picture, padded to a square (the official code's ablation).

    Parameters
    ----------
    encoder : ClipPictureEncoder
        The vision tower of the checkpoint whose text tower reads the questions.
    """

    def __init__(self, encoder: ClipPictureEncoder) -> None:
        self._encoder = encoder

    def of(self, samples: Sequence[Sample]) -> Array:
        """Features (n, projected width) float32, not of length 1."""
        _check_pictured(samples)
        chunks = [samples[start : start + _CHUNK] for start in range(0, len(samples), _CHUNK)]
        return np.concatenate(
            [
                self._encoder.encode(
                    [padded_to_square(picture_of(sample), self._encoder.mean) for sample in chunk]
                )
                for chunk in chunks
            ]
        )

    def key(self, sample: Sample) -> str:
        """Give the name of the picture."""
        return sample.identifier


class PictureFeatures:
    """Mean over the patches of what the base's frozen vision tower makes of the picture.

    For text encoders without a vision tower of their own; this one is loaded anyway.

    Parameters
    ----------
    vision : VisionFeatures
        Cache of the base; the features serve training and answering as well.
    """

    def __init__(self, vision: VisionFeatures) -> None:
        if not vision.sees:
            raise ModelError(
                "identity.token needs pictures, but the base is a model of text alone, without a "
                "vision tower. Set identity.token = text, or name another base as model.name."
            )
        self._vision = vision

    def of(self, samples: Sequence[Sample]) -> Array:
        """Features (n, vision width) float32, not of length 1."""
        _check_pictured(samples)
        chunks = [samples[start : start + _CHUNK] for start in range(0, len(samples), _CHUNK)]
        return np.concatenate([_means(self._vision.of(chunk)).cpu().numpy() for chunk in chunks])

    def key(self, sample: Sample) -> str:
        """Give the name of the picture."""
        return sample.identifier


class QuestionAndPictureFeatures:
    """Both, each scaled to length 1, one after the other.

    The cosine of two samples is then the mean of their cosines in text and in pictures, as in the
    paper's ablation (official code: `(S_text + S_img) / 2`). Of tokens, which are means of such
    features, it is the same mean weighed by the lengths of both halves: the half that is more alike
    within a client has the longer mean and counts more, where the paper's halves count the same.

    Parameters
    ----------
    question : QuestionFeatures
        First half.
    picture : SampleFeatures
        Second half.
    """

    def __init__(self, question: QuestionFeatures, picture: SampleFeatures) -> None:
        self._halves: tuple[SampleFeatures, ...] = (question, picture)

    def of(self, samples: Sequence[Sample]) -> Array:
        """Features (n, d + vision width) float32 of length sqrt(2); a zero half stays zero."""
        return np.concatenate([_of_length_one(half.of(samples)) for half in self._halves], axis=1)

    def key(self, sample: Sample) -> str:
        """Give the name of the picture with its question."""
        return sample.identifier


class ReducedFeatures:
    """Others in fewer dimensions (`fcit_app.identity.reduction`).

    Parameters
    ----------
    features : SampleFeatures
        The others.
    dimension : int
        At least 1.
    """

    def __init__(self, features: SampleFeatures, dimension: int) -> None:
        self._features = features
        self._dimension = dimension

    def of(self, samples: Sequence[Sample]) -> Array:
        """Features (n, dimension) float32."""
        return reduced(self._features.of(samples), self._dimension)

    def key(self, sample: Sample) -> str:
        """Give the others'."""
        return self._features.key(sample)


class RememberedFeatures:
    """Others, computed once for the same samples in the same order.

    A client is asked for its token again, and the same test questions are routed after every stage.
    Whole lists are remembered by the hash of their content: an encoder's last bits depend on what
    it encodes together, and so must never depend on what has been encoded before.

    Parameters
    ----------
    features : SampleFeatures
        The others.
    most : int
        Bytes to hold; the lists used longest ago make way.
    """

    def __init__(self, features: SampleFeatures, most: int = 2**28) -> None:
        self._features = features
        self._most = most
        self._known: OrderedDict[bytes, Array] = OrderedDict()

    def of(self, samples: Sequence[Sample]) -> Array:
        """Features of the others; the caller's own copy."""
        content = json.dumps([self.key(sample) for sample in samples]).encode()
        name = hashlib.sha256(content).digest()
        if name not in self._known:
            self._known[name] = self._features.of(samples)
            while sum(held.nbytes for held in self._known.values()) > self._most:
                if len(self._known) == 1:  # too large to be held at all
                    return self._known.popitem()[1]
                self._known.popitem(last=False)
        self._known.move_to_end(name)
        return self._known[name].copy()

    def key(self, sample: Sample) -> str:
        """Give the others'."""
        return self._features.key(sample)


def sample_features(
    source: TokenSource, encoder: TextEncoder, vision: VisionFeatures | None, dimension: int = 0
) -> SampleFeatures:
    """Features that tokens of this source (`identity.token`) are made of, remembered.

    Parameters
    ----------
    source : {"text", "image", "text+image"}
        See the classes above.
    encoder : TextEncoder
        For the question, and the picture if it is CLIP's.
    vision : VisionFeatures or None
        For the picture otherwise; None may be given where it is not used.
    dimension : int
        How many dimensions (`identity.dimension`); 0 for as many as there are.

    Raises
    ------
    ModelError
        If the source needs pictures, and CLIP's vision tower cannot be loaded or there is neither
        one nor a base that takes pictures.
    """
    features = _whole_features(source, encoder, vision)
    return RememberedFeatures(ReducedFeatures(features, dimension) if dimension else features)


def _whole_features(
    source: TokenSource, encoder: TextEncoder, vision: VisionFeatures | None
) -> SampleFeatures:
    question = QuestionFeatures(encoder)
    if source == "text":
        return question
    clip = load_picture_encoder(encoder.name)
    picture: SampleFeatures
    if clip is not None:
        picture = ClipPictureFeatures(clip)
    elif vision is not None:
        picture = PictureFeatures(vision)
    else:
        raise ModelError(f"identity.token = {source} needs the base's vision tower.")
    if source == "image":
        return picture
    return QuestionAndPictureFeatures(question, picture)


def _check_pictured(samples: Sequence[Sample]) -> None:
    """Refuse tokens of pictures for samples of which one has none."""
    for sample in samples:
        if sample.picture is None:
            raise DataError(
                f"identity.token needs a picture of each sample, but '{sample.identifier}' of "
                f"{sample.task} is text alone. Set identity.token = text."
            )


def _means(pictures: Vision) -> Tensor:
    """Mean over each picture's patches."""
    if isinstance(pictures, Tensor):
        return pictures.mean(dim=1)
    return torch.stack([picture.flatten(0, -2).mean(dim=0) for picture in pictures])


def _of_length_one(features: Array) -> Array:
    lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    scaled: Array = (features / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return scaled
