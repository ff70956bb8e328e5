"""Features on disk and workers ahead: the same bits as without, and no stranger's bits."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_llava import save_tiny_llava, toy_picture, toy_samples
from tiny_models import save_tiny_model
from toy_banks import RANK, SCALING, same_bits
from toy_folder import training_raw, write_json

from fcit_app.data.folder.private import private_samples
from fcit_app.data.sample import Sample, picture_digest
from fcit_app.errors import DataError
from fcit_app.model.adapters import initial_adapter, parameter_handles, read_parameters, wrap
from fcit_app.model.base import BaseModel, load_base
from fcit_app.model.feature_folder import FeatureFolder, features_identity
from fcit_app.model.settings import BaseSettings
from fcit_app.model.vision import AHEAD, VisionFeatures, vision_features
from fcit_app.train.loop import TrainConfig, fit


@dataclasses.dataclass(frozen=True)
class Settings:
    """The two keys of a run's configuration."""

    feature_cache: str = ""
    workers: int = 0


@contextmanager
def tower_calls(base: BaseModel) -> Iterator[list[int]]:
    """Count how often pictures go through the tower."""
    calls: list[int] = []
    hook = base.tower.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        yield calls
    finally:
        hook.remove()


def alike(found: object, expected: object) -> bool:
    """Whether features are equal to the bit, stacked or not."""
    return all(map(torch.equal, found, expected)) and len(found) == len(expected)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module", params=["llava", "qwen2_5_vl", "smolvlm"])
def base(request, tmp_path_factory) -> BaseModel:
    folder = tmp_path_factory.mktemp(request.param)
    save = save_tiny_llava if request.param == "llava" else None
    return load_base(str(save(folder) if save else save_tiny_model(request.param, folder)))


def sized(count: int) -> list[Sample]:
    """Samples whose pictures differ in size; the last two show the same picture."""
    made = [
        dataclasses.replace(
            sample, picture=lambda n=n: toy_picture(n).resize((24 + 8 * (n % 3), 24))
        )
        for n, sample in enumerate(toy_samples(count))
    ]
    return [*made, dataclasses.replace(made[-1], identifier="the same again")]


@pytest.mark.parametrize("workers", [0, 3])
def test_same_bits_with_and_without_the_folder(base, tmp_path, workers):
    samples = sized(7)
    expected = VisionFeatures(base).of(samples)
    settings = Settings(str(tmp_path / "cache"), workers)
    assert alike(vision_features(base, settings).of(samples), expected)
    assert len(files_of(tmp_path / "cache")) == 7
    backwards = list(expected)[::-1]
    with tower_calls(base) as calls:
        assert alike(vision_features(base, settings).of(samples[::-1]), backwards)
    assert not calls


def _flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content, other: _flip(content, len(content) - 5),
        lambda content, other: _flip(content, 40),
        lambda content, other: content[: len(content) // 2],
        lambda content, other: b"",
        lambda content, other: os.urandom(200),
        lambda content, other: other,
    ],
    ids=["number", "header", "cut", "empty", "foreign", "another picture's"],
)
def test_what_is_not_as_written_is_computed_anew(tiny_base, tmp_path, spoil):
    samples, settings = toy_samples(2), Settings(str(tmp_path))
    expected = vision_features(tiny_base, settings).of(samples)
    files = files_of(tmp_path)
    sound = [file.read_bytes() for file in files]
    files[0].write_bytes(spoil(sound[0], sound[1]))
    with tower_calls(tiny_base) as calls:
        assert torch.equal(vision_features(tiny_base, settings).of(samples), expected)
    assert len(calls) == 1
    assert [file.read_bytes() for file in files_of(tmp_path)] == sound


def test_whatever_decides_a_feature_has_a_folder_of_its_own(tmp_path, tiny_base):
    first = load_base(str(save_tiny_llava(tmp_path / "a")))
    again = load_base(str(save_tiny_llava(tmp_path / "b")))
    other = load_base(str(save_tiny_llava(tmp_path / "c", seed=1)))
    padded = dataclasses.replace(first, pad_to_square=True)
    half = load_base(BaseSettings(str(tmp_path / "a"), dtype="bfloat16"))
    assert features_identity(first) == features_identity(again)
    assert len({features_identity(found) for found in (first, other, padded, half)}) == 4
    images = first.processor.image_processor
    before, images.image_mean = images.image_mean, [0.1, 0.2, 0.3]
    assert features_identity(first) != features_identity(again)
    images.image_mean = before
    # the projector is trained and comes after the features
    with torch.no_grad():
        next(first.projector.parameters()).add_(1)
    assert features_identity(first) == features_identity(again)


def test_a_projector_inside_the_tower_does_not_count(tmp_path):
    base = load_base(str(save_tiny_model("qwen2_5_vl", tmp_path / "model")))
    before = features_identity(base)
    with torch.no_grad():
        next(base.projector.parameters()).add_(1)
    assert features_identity(base) == before
    with torch.no_grad():
        base.tower.patch_embed.proj.weight.add_(1)
    assert features_identity(base) != before


def test_a_picture_goes_by_its_content(tmp_path):
    one, two = toy_samples(2)
    assert picture_digest(one) == picture_digest(dataclasses.replace(two, picture=one.picture))
    assert picture_digest(one) != picture_digest(two)
    for name, number in (("a", 1), ("b", 1), ("c", 2)):
        toy_picture(number).save(tmp_path / f"{name}.png")
    raw = [training_raw(f"{name}.png", "q", "a") for name in "abc"]
    write_json(tmp_path / "mine.json", raw)
    found = [picture_digest(s) for s in private_samples(tmp_path, "private/x").samples]
    assert found[0] == found[1] != found[2]


def test_a_folder_that_cannot_be_written_costs_time_only(tiny_base, tmp_path, caplog):
    (tmp_path / "taken").write_text("")
    samples, settings = toy_samples(20), Settings(str(tmp_path / "taken"))
    found = vision_features(tiny_base, settings).of(samples)
    assert torch.equal(found, VisionFeatures(tiny_base).of(samples))
    assert caplog.text.count("data.feature-cache: nothing can be written") == 1


def test_writers_share_a_folder_without_harm(tmp_path):
    def write_all(_: int) -> None:
        folder = FeatureFolder(tmp_path, "x" * 64)
        for number in [*range(4)] * 20:
            folder.write(f"{number:064x}", torch.full((50, 50), float(number)))
            found = folder.read(f"{number:064x}")
            assert found is not None and bool((found == number).all())

    with ThreadPoolExecutor(4) as crew:
        assert list(crew.map(write_all, range(4))) == [None] * 4
    assert len(files_of(tmp_path)) == 4  # and nothing half written


CONFIG = TrainConfig(
    steps=0,
    epochs=2,
    batch_size=3,
    accumulation=2,
    learning_rate=1e-2,
    projector_learning_rate=1e-3,
)


@pytest.mark.parametrize("workers", [1, 4])
def test_training_is_the_same_for_any_number_of_workers(tiny_base, tmp_path, workers):
    handles = parameter_handles(wrap(tiny_base, RANK, SCALING), projector=True)
    start = read_parameters(handles) | initial_adapter(handles, seed=0)
    samples = [*sized(13), dataclasses.replace(toy_samples(1)[0], picture=None)]
    plain = fit(tiny_base, handles, start, samples, VisionFeatures(tiny_base), 1, CONFIG)
    vision = vision_features(tiny_base, Settings(str(tmp_path), workers))
    found = fit(tiny_base, handles, start, samples, vision, 1, CONFIG)
    assert found.losses == plain.losses and same_bits(found.arrays, plain.arrays)
    assert not vision._waiting


def test_workers_begin_before_they_are_asked(tiny_base):
    opened: list[str] = []

    def picture(number: int) -> Image.Image:
        opened.append(f"figureqa/toy/{number}")
        return toy_picture(number)

    samples = [
        dataclasses.replace(sample, picture=lambda n=n: picture(n))
        for n, sample in enumerate(toy_samples(AHEAD + 40))
    ]
    vision = VisionFeatures(tiny_base, workers=2)
    vision.expect(iter(samples))
    for waiting in vision._waiting.values():
        waiting.result()
    assert sorted(opened) == sorted(sample.identifier for sample in samples[:AHEAD])
    assert torch.equal(vision.of(samples[:20]), VisionFeatures(tiny_base).of(samples[:20]))
    vision.expect(samples[:30])  # the first 20 are kept, the others wait already
    assert len(vision._waiting) == 10
    assert len(opened) == AHEAD + 20
    VisionFeatures(tiny_base).expect(samples)
    assert len(opened) == AHEAD + 20


def test_a_broken_picture_is_the_same_error_in_a_worker(tiny_base, tmp_path):
    toy_picture(0).save(tmp_path / "1.png")
    write_json(tmp_path / "mine.json", [training_raw("1.png", "q", "a")])
    samples = private_samples(tmp_path, "private/x").samples
    (tmp_path / "1.png").write_bytes(b"no picture")
    told = []
    for settings in (Settings(), Settings(workers=2), Settings(str(tmp_path / "cache"), 2)):
        vision = vision_features(tiny_base, settings)
        vision.expect(samples)
        for _ in range(2):
            with pytest.raises(DataError) as caught:
                vision.of(samples)
            told.append(str(caught.value))
    assert len(set(told)) == 1
    assert f"{tmp_path}/mine.json, record 0 (counted from 0): its picture" in told[0]
