"""Features of the frozen vision tower, computed once per picture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from PIL.Image import Image
from PIL.Image import new as new_image
from torch import Tensor

from fcit_app.data.sample import Sample, picture_of
from fcit_app.errors import DataError
from fcit_app.model.base import BaseModel
from fcit_app.model.towers import CHUNK, tower_features

_DEFAULT_BUDGET = 256 * 2**20


def padded_to_square(picture: Image, mean: Sequence[float]) -> Image:
    """Put a picture in the middle of a square of the image processor's mean colour.

    LLaVA-1.5's ``image_aspect_ratio = pad``; a square picture is returned as it is.

    Parameters
    ----------
    picture : Image
        RGB.
    mean : Sequence[float]
        The processor's mean, from 0 to 1; CLIP's gives (122, 116, 104), cut off as in LLaVA.
    """
    picture = picture.convert("RGB")
    width, height = picture.size
    if width == height:
        return picture
    side = max(width, height)
    red, green, blue = (int(255 * value) for value in mean)
    square = new_image("RGB", (side, side), (red, green, blue))
    square.paste(picture, ((side - width) // 2, (side - height) // 2))
    return square


class VisionFeatures:
    """Cache of what the vision tower makes of a picture, before the projector.

    The tower is never trained, so its features do not change; the projector is, so it runs each
    time, in ``BaseModel.embed``. Pictures go through the tower in chunks of one fixed size: then a
    picture's features do not depend, to the last bit, on the pictures computed with it, and a run
    that is resumed with a cold cache goes on with the same numbers.

    They are kept where and in the precision in which the tower gives them: of LLaVA-1.5 a picture's
    are 1.2 MB in bfloat16, too much to carry to and fro with each batch.

    Parameters
    ----------
    base : BaseModel
        The model whose tower and image processor are used.
    budget_bytes : int
        Most bytes that the kept features may take; the least recently used ones are dropped.
    """

    def __init__(self, base: BaseModel, budget_bytes: int = _DEFAULT_BUDGET) -> None:
        self._base = base
        self._budget = budget_bytes
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0

    @property
    def sees(self) -> bool:
        """Whether the base takes pictures."""
        return self._base.architecture.sees

    def of(self, samples: Sequence[Sample]) -> Tensor | list[Tensor]:
        """Features of the picture of each sample that has one, in their order.

        Returns
        -------
        Tensor or list of Tensor
            Float32, on the base's device: shape (pictures, image tokens, vision width), or a tensor
            a picture where they differ in size (``fcit_app.model.towers.tower_features``). An empty
            list if no sample has a picture.

        Raises
        ------
        ModelError
            If image processor and vision tower disagree about the number of patches.
        DataError
            If a sample has a picture and the base is a model of text alone.
        """
        pictured = [sample for sample in samples if sample.picture is not None]
        if not pictured:
            return []
        if not self.sees:
            raise DataError(
                f"The sample '{pictured[0].identifier}' of {pictured[0].task} has a picture, but "
                f"the base '{self._base.name}' is a model of text alone. Give it records without "
                "'image' (a private task), or name a base that takes pictures as model.name."
            )
        wanted = [sample.identifier for sample in pictured]
        found = {name: self._kept[name] for name in wanted if name in self._kept}
        missing = list({s.identifier: s for s in pictured if s.identifier not in found}.values())
        for start in range(0, len(missing), CHUNK):
            chunk = missing[start : start + CHUNK]
            for sample, computed in zip(chunk, self._compute(chunk), strict=True):
                found[sample.identifier] = computed
        for name, known in found.items():
            self._keep(name, known)
        features = [found[name].float() for name in wanted]
        return torch.stack(features) if self._base.architecture.sight == "fixed" else features

    def _keep(self, name: str, features: Tensor) -> None:
        if name in self._kept:
            self._kept.move_to_end(name)
            return
        self._kept[name] = features
        self._bytes += features.nbytes
        while self._bytes > self._budget:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def _compute(self, samples: Sequence[Sample]) -> list[Tensor]:
        pictures = [picture_of(sample) for sample in samples]
        if self._base.pad_to_square:
            mean = self._base.processor.image_processor.image_mean
            pictures = [padded_to_square(picture, mean) for picture in pictures]
        return tower_features(self._base, pictures)
