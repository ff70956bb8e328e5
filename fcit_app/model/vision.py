"""Features of the frozen vision tower, computed once per picture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch
from PIL.Image import Image
from PIL.Image import new as new_image
from torch import Tensor

from fcit_app.data.sample import Sample, picture_digest, picture_of
from fcit_app.errors import DataError
from fcit_app.model.base import BaseModel
from fcit_app.model.feature_folder import FeatureFolder, features_identity
from fcit_app.model.towers import CHUNK, Inputs, picture_inputs, tower_features

AHEAD = 64
"""Pictures that may wait processed at once: of LLaVA-1.5 1.4 MB each."""

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
    folder : FeatureFolder, optional
        Where features are kept on disk as well.
    workers : int
        Threads that open and process pictures ahead of their turn (``expect``); 0 for none. The
        features are the same: each picture is processed by itself, whoever does it.
    """

    def __init__(
        self,
        base: BaseModel,
        budget_bytes: int = _DEFAULT_BUDGET,
        folder: FeatureFolder | None = None,
        workers: int = 0,
    ) -> None:
        self._base = base
        self._budget = budget_bytes
        self._folder = folder
        self._pool = ThreadPoolExecutor(workers, "pictures") if workers else None
        self._waiting: dict[str, Future[_Ready]] = {}
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
            If a picture cannot be read, or there is one and the base is a model of text alone.
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

    def expect(self, samples: Iterable[Sample]) -> None:
        """Begin to open and process the pictures that are wanted next, if there are workers.

        Parameters
        ----------
        samples : Iterable[Sample]
            In the order in which they will be wanted; ``AHEAD`` of them are looked at. What was
            expected before and is no longer is dropped. An error waits until its picture is wanted.
        """
        if self._pool is None:
            return
        upcoming = {sample.identifier: sample for sample in islice(samples, AHEAD)}
        for name in self._waiting.keys() - upcoming.keys():
            self._waiting.pop(name).cancel()
        self._begin(self._pool, upcoming.values())

    def _begin(self, pool: ThreadPoolExecutor, samples: Iterable[Sample]) -> None:
        for sample in samples:
            name = sample.identifier
            known = name in self._kept or name in self._waiting
            if sample.picture is not None and not known:
                self._waiting[name] = pool.submit(self._ready, sample)

    def _keep(self, name: str, features: Tensor) -> None:
        if name in self._kept:
            self._kept.move_to_end(name)
            return
        self._kept[name] = features
        self._bytes += features.nbytes
        while self._bytes > self._budget:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def _compute(self, samples: Sequence[Sample]) -> list[Tensor]:
        if self._pool is not None:
            self._begin(self._pool, samples)
        ready = [self._take(sample) for sample in samples]
        fresh = [made.inputs for made in ready if made.inputs is not None]
        computed = iter(tower_features(self._base, fresh) if fresh else [])
        found = []
        for made in ready:
            features = next(computed) if made.features is None else made.features
            if self._folder is not None and made.features is None:
                self._folder.write(made.digest, features)
            found.append(features.to(self._base.device))
        return found

    def _take(self, sample: Sample) -> _Ready:
        waiting = self._waiting.pop(sample.identifier, None)
        return self._ready(sample) if waiting is None else waiting.result()

    def _ready(self, sample: Sample) -> _Ready:
        """Find a picture's features on disk, or process it for the tower; in any thread."""
        digest = ""
        if self._folder is not None:
            digest = picture_digest(sample)
            features = self._folder.read(digest)
            if features is not None:
                return _Ready(digest, features=features)
        picture = picture_of(sample)
        if self._base.pad_to_square:
            picture = padded_to_square(picture, self._base.processor.image_processor.image_mean)
        return _Ready(digest, inputs=picture_inputs(self._base, picture))


@dataclass(frozen=True, eq=False)
class _Ready:
    """A picture's features, or what the tower makes them from; ``digest`` names it on disk."""

    digest: str
    features: Tensor | None = None
    inputs: Inputs | None = None


class FeatureSettings(Protocol):
    """The part of a run's configuration that decides how features are got; ``DataConfig`` is one.

    Written down here since the room below depends on no other.
    """

    @property
    def feature_cache(self) -> str:
        """Folder in which features are kept; empty for none."""

    @property
    def workers(self) -> int:
        """Threads that work ahead."""


def vision_features(base: BaseModel, settings: FeatureSettings) -> VisionFeatures:
    """Make the cache of a base as a run's configuration wants it."""
    folder = None
    if settings.feature_cache and base.architecture.sees:
        folder = FeatureFolder(Path(settings.feature_cache).expanduser(), features_identity(base))
    return VisionFeatures(base, folder=folder, workers=settings.workers)
