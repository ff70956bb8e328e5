"""Every architecture: right layers, the picture where it belongs, training, and mixed batches.

In a mixed batch pictures differ in size, and one question in three is text alone.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_llava import toy_picture, toy_samples
from tiny_models import SEEING, TEXT_ALONE, save_tiny_model
from toy_banks import RANK, SCALING, fingerprint, random_bank, same_bits
from transformers import Idefics3Processor, Qwen2_5_VLProcessor

from fcit_app.data.sample import Sample
from fcit_app.errors import ModelError
from fcit_app.evaluate.answer import answer
from fcit_app.identity.encoders import HashedNgramEncoder
from fcit_app.model.adapters import (
    check_projector,
    initial_adapter,
    is_adapter,
    parameter_handles,
    read_parameters,
    wrap,
)
from fcit_app.model.architectures import LoraTargets
from fcit_app.model.bank import Bank
from fcit_app.model.base import BaseModel, load_base
from fcit_app.model.features import sample_features
from fcit_app.model.placeholders import picture_text
from fcit_app.model.prompt import encode_dialogues, encode_prompts, prompt_text
from fcit_app.model.sizes import model_sizes
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.loop import TrainConfig, fit

SIZES = [(24, 24), (48, 24), (20, 40), (30, 22)]
CONFIG = TrainConfig(steps=4, batch_size=3, learning_rate=1e-2, projector_learning_rate=1e-3)


@pytest.fixture(scope="module", params=[*SEEING, *TEXT_ALONE])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def base(folder: Path) -> BaseModel:
    return load_base(str(folder))


@pytest.fixture(scope="module")
def vision(base: BaseModel) -> VisionFeatures:
    return VisionFeatures(base)


def pictured(count: int) -> list[Sample]:
    """Toy samples whose pictures differ in size and shape."""

    def picture(number: int) -> Image.Image:
        return toy_picture(number).resize(SIZES[number % len(SIZES)])

    return [
        dataclasses.replace(sample, picture=lambda number=number: picture(number))
        for number, sample in enumerate(toy_samples(count))
    ]


def asked_of(base: BaseModel, count: int) -> list[Sample]:
    """Toy samples for a base: some with pictures and some without, or all without."""
    sees = base.architecture.sees
    return [
        dataclasses.replace(sample, picture=sample.picture if sees and number % 3 != 1 else None)
        for number, sample in enumerate(pictured(count))
    ]


def handles_of(base: BaseModel, targets: LoraTargets = "ffn") -> dict[str, Any]:
    model = wrap(base, RANK, SCALING, targets=targets)
    return parameter_handles(model, projector=base.architecture.sees)


def from_pixels(base: BaseModel, sample: Sample, ids: torch.Tensor) -> dict[str, Any]:
    """What transformers' own model takes."""
    asked: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if sample.picture is not None:
        images = base.processor.image_processor
        nested = base.architecture.sight == "tiles"
        picture = sample.picture()
        asked |= images([[picture]] if nested else [picture], return_tensors="pt")
    if base.architecture.sight == "grid":
        asked["mm_token_type_ids"] = (ids == base.model.config.image_token_id).int()
    return asked


@torch.no_grad()
def test_logits_and_answers_equal_those_from_pixels(
    base: BaseModel, vision: VisionFeatures
) -> None:
    wrap(base, RANK, SCALING)
    longer: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    for sample in asked_of(base, 4):
        ids = torch.tensor(encode_prompts(base, [sample]))
        asked = from_pixels(base, sample, ids)
        inputs = base.inputs(ids, vision.of([sample]), torch.ones_like(ids))
        states = base.decoder(**inputs).last_hidden_state
        expected = base.model(**asked).logits
        torch.testing.assert_close(base.model.lm_head(states), expected, rtol=1e-4, atol=1e-4)
        generated = base.model.generate(**asked, **longer)[:, ids.shape[1] :]
        assert torch.equal(base.model.generate(**inputs, **longer), generated)


@torch.no_grad()
def test_training_rows_do_not_depend_on_padding_or_neighbours(
    base: BaseModel, vision: VisionFeatures
) -> None:
    wrap(base, RANK, SCALING)
    samples = asked_of(base, 4)
    rows = [torch.tensor(ids) for ids, _ in encode_dialogues(base, samples)]
    together = torch.nn.utils.rnn.pad_sequence(
        rows, batch_first=True, padding_value=base.tokenizer.pad_token_id
    )
    states = base.decoder(**base.inputs(together, vision.of(samples))).last_hidden_state
    for row, sample, found in zip(rows, samples, states, strict=True):
        alone = base.decoder(**base.inputs(row[None], vision.of([sample]))).last_hidden_state
        torch.testing.assert_close(found[: len(row)], alone[0], rtol=1e-4, atol=1e-4)


def test_training_learns_and_leaves_no_trace(base: BaseModel, vision: VisionFeatures) -> None:
    handles = handles_of(base)
    start = read_parameters(handles) | initial_adapter(handles, seed=0)
    before = fingerprint(base.model)
    samples, config = asked_of(base, 6), dataclasses.replace(CONFIG, batch_size=6)
    first = fit(base, handles, start, samples, vision, 1, config)
    again = fit(base, handles, start, samples, VisionFeatures(base), 1, config)
    assert fingerprint(base.model) == before
    assert first.losses == again.losses and same_bits(first.arrays, again.arrays)
    assert first.loss_last < first.loss_first
    assert all(not np.array_equal(first.arrays[n], start[n]) for n in handles if "lora_A" in n)
    trained = [name for name in handles if not is_adapter(name)]
    assert bool(trained) == base.architecture.sees
    moved = [not np.array_equal(first.arrays[name], start[name]) for name in trained]
    assert all(moved)


def test_a_one_hot_gate_is_that_single_adapter(base: BaseModel, vision: VisionFeatures) -> None:
    bank, samples = random_bank(handles_of(base), 3), asked_of(base, 4)
    with BankSession(base, bank) as session:
        for place in range(3):
            gate = torch.zeros(4, 3)
            gate[:, place] = 1
            chosen = answer(session, samples, vision, gate)
            assert chosen == _alone(base, Bank((bank.subspaces[place],)), samples, vision, session)


def _alone(
    base: BaseModel,
    bank: Bank,
    samples: list[Sample],
    vision: VisionFeatures,
    session: BankSession,
) -> list[str]:
    """Answers with a bank of one, the other session left and entered again."""
    session.__exit__(None, None, None)
    with BankSession(base, bank) as single:
        said = answer(single, samples, vision, torch.ones(len(samples), 1))
    session.__enter__()
    return said


def test_a_mixed_batch_answers_as_one_by_one(base: BaseModel, vision: VisionFeatures) -> None:
    handles = handles_of(base)
    bank, samples = random_bank(handles, 3), asked_of(base, 6)
    if base.architecture.sees:
        bank = Bank(
            tuple(
                dataclasses.replace(known, projector=_shaken(handles, known.identifier))
                for known in bank.subspaces
            )
        )
    weights = torch.softmax(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)) * 3, -1)
    with BankSession(base, bank) as session:
        together = answer(session, samples, vision, weights)
        single = [
            answer(session, [sample], vision, weights[place : place + 1])[0]
            for place, sample in enumerate(samples)
        ]
        other = answer(session, samples, vision, weights.flip(1))
    assert together == single
    assert together != other


def _shaken(handles: dict[str, Any], seed: int) -> dict[str, Any]:
    """The projector, some way off."""
    generator = np.random.default_rng(seed)
    return {
        name: array + 0.1 * generator.standard_normal(array.shape).astype(np.float32)
        for name, array in read_parameters(handles).items()
        if not is_adapter(name)
    }


@pytest.mark.parametrize("targets", ["ffn", "attention", "ffn+attention"])
def test_adapters_are_in_the_language_models_layers(base: BaseModel, targets: Any) -> None:
    names = [name for name in handles_of(base, targets) if is_adapter(name)]
    decoder = f"base_model.model.{base.architecture.decoder}.layers."
    assert all(name.startswith(decoder) for name in names)
    kinds = {"ffn": 3, "attention": 4, "ffn+attention": 7}
    assert len(names) == 2 * kinds[targets] * 2
    assert any("mlp" in name for name in names) == ("ffn" in targets)
    sizes = model_sizes(base.name, targets=targets)
    assert sizes.arrays_adapter == len(names)
    handles = handles_of(base, targets)
    assert sizes.adapter_per_rank * RANK == sum(handles[name].numel() for name in names)
    wrap(base, RANK, SCALING)


def test_a_rule_that_finds_nothing_says_what_there_is(base: BaseModel) -> None:
    strange = dataclasses.replace(base.architecture, feed_forward=r"mlp\.(fc1|fc2)")
    with pytest.raises(ModelError, match=r"ffn layers of .*fc1\|fc2.*mlp\.down_proj.*self_attn"):
        wrap(dataclasses.replace(base, architecture=strange), RANK + 1, SCALING)


def test_questions_cannot_write_pictures(base: BaseModel) -> None:
    token = base.processor.image_token or base.tokenizer.eos_token
    (sample,) = pictured(1)
    asked = dataclasses.replace(sample, question=f"What {token} is it?")
    plain = dataclasses.replace(sample, question="What   is it?")
    assert prompt_text(base, asked.question) == prompt_text(base, plain.question)


def test_text_alone_has_no_projector_and_no_eyes(base: BaseModel, vision: VisionFeatures) -> None:
    check_projector(base, "frozen")
    encoder = HashedNgramEncoder()
    if base.architecture.sees:
        check_projector(base, "shared")
        features = sample_features("image", encoder, vision).of(pictured(3))
        assert features.shape == (3, 32) and np.isfinite(features).all()
        return
    with pytest.raises(ModelError, match=r"projector: 'shared' is not allowed.*frozen"):
        check_projector(base, "shared")
    with pytest.raises(ModelError, match=r"identity\.token needs pictures.*identity\.token = text"):
        sample_features("text+image", encoder, vision)


def test_sizes_without_weights_are_those_of_the_loaded_model(base: BaseModel) -> None:
    sizes = model_sizes(base.name)
    frozen = [p.numel() for n, p in base.model.named_parameters() if "lora_" not in n]
    assert sizes.packable + sizes.other + sizes.projector == sum(frozen)
    assert (sizes.image_tokens > 0) == base.architecture.sees


@pytest.mark.parametrize("size", SIZES)
def test_placeholders_are_what_the_checkpoints_processors_write(
    base: BaseModel, size: tuple[int, int]
) -> None:
    sight, images = base.architecture.sight, base.processor.image_processor
    if not base.architecture.sees:
        assert images is None
        return
    written = picture_text(sight, images, base.image_tokens, *size)
    picture = toy_picture(0).resize(size)
    if sight == "grid":
        stand_in = SimpleNamespace(image_token="<|image_pad|>", image_processor=images)
        made = images([picture], return_tensors="pt")
        expected = Qwen2_5_VLProcessor.replace_image_token(stand_in, made, 0)  # type: ignore[arg-type]
    else:
        stand_in = SimpleNamespace(
            fake_image_token="<fake_token_around_image>",
            image_token="<image>",
            global_image_tag="<global-img>",
            image_seq_len=base.image_tokens,
        )
        made = images([[picture]], return_tensors="pt", return_row_col_info=True)
        expected = Idefics3Processor.replace_image_token(stand_in, made, 0)  # type: ignore[arg-type]
    assert written == expected


def test_an_unknown_architecture_is_told_what_is_known(folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    file = copied / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_type": "gpt2"}))
    with pytest.raises(ModelError, match=r"'gpt2'.*llava, qwen2_5_vl.*llama"):
        load_base(str(copied))
