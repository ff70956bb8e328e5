"""Sizes without weights equal those of the loaded model, and the published ones of LLaVA-1.5."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from flwr.app import Array, ArrayRecord
from tiny_llava import save_tiny_llava, toy_picture, toy_samples
from tiny_models import save_tiny_model
from toy_banks import RANK, SCALING
from typer.testing import CliRunner

from fcit_app.cli import app
from fcit_app.config import parse
from fcit_app.errors import ConfigError, ModelError
from fcit_app.estimate import (
    FEATURES_HEADER,
    check_gpu,
    estimate,
    features_on_disk,
    frozen_weights,
    training_memory,
)
from fcit_app.model.adapters import is_adapter, parameter_handles, read_parameters, wrap
from fcit_app.model.base import load_base
from fcit_app.model.sizes import LLAVA_15_7B, TYPICAL, ModelSizes, model_sizes
from fcit_app.model.vision import vision_features


@dataclass(frozen=True)
class Settings:
    """Where features are kept."""

    feature_cache: str
    workers: int = 0


@pytest.fixture(scope="module")
def llava() -> ModelSizes:
    return model_sizes(LLAVA_15_7B)


def test_sizes_are_those_of_the_loaded_model(tiny_base, tiny_folder):
    sizes = model_sizes(str(tiny_folder))
    model = wrap(tiny_base, RANK, SCALING)
    handles = parameter_handles(model, projector=True)
    adapter = {name: handle.numel() for name, handle in handles.items() if is_adapter(name)}
    assert sizes.adapter_per_rank * RANK == sum(adapter.values())
    assert sizes.arrays_adapter == len(adapter)
    assert sizes.arrays_projector == len(handles) - len(adapter)
    frozen = sum(p.numel() for name, p in model.named_parameters() if "lora_" not in name)
    assert sizes.packable + sizes.other + sizes.projector == frozen
    assert sizes.image_tokens == tiny_base.image_tokens


def test_llava_has_its_published_sizes(llava):
    # docs of the official runs: one rank-8 subspace and the projector, see fcit-spec section 4
    assert llava.adapter_per_rank * 8 == 11_599_872
    assert llava.projector == 20_979_712
    assert llava.image_tokens == 576
    assert 6.9e9 < llava.packable + llava.other + llava.projector < 7.2e9
    with pytest.raises(ModelError, match="neither a folder nor a checkpoint"):
        model_sizes("llava-hf/none-such")


def test_traffic_is_what_flower_counts_but_for_the_names(tiny_base, tiny_folder):
    config = parse({"model.name": str(tiny_folder), "train.rank": RANK, "clients-per-round": 3})
    found = estimate(config, model_sizes(str(tiny_folder)), on_gpu=False)
    handles = parameter_handles(wrap(tiny_base, RANK, SCALING), projector=True)
    record = ArrayRecord({name: Array(a) for name, a in read_parameters(handles).items()})
    names = sum(map(len, record))
    assert found.round_down == found.round_up == 3 * (record.count_bytes() - names)


@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl", "smolvlm"])
def test_features_on_disk_are_as_large_as_said(kind, tmp_path):
    folder = tmp_path / "model"
    save_tiny_llava(folder) if kind == "llava" else save_tiny_model(kind, folder)
    base, sizes = load_base(str(folder)), model_sizes(str(folder))
    typical = replace(toy_samples(1)[0], picture=lambda: toy_picture(0).resize(TYPICAL))
    vision = vision_features(base, Settings(feature_cache=str(tmp_path / "cache")))
    (features,) = vision.of([typical])
    assert features.numel() == sizes.picture_numbers
    (file,) = (tmp_path / "cache").rglob("*.safetensors")
    flat = {"data.train-samples": 1, "data.test-samples": 1, "tasks": "dvqa", "data.min-samples": 1}
    config = parse({**flat, "data.feature-cache": str(tmp_path / "cache")})
    found = estimate(config, sizes, on_gpu=False).features
    assert found == features_on_disk(config, sizes, False)
    assert 0 <= found / 2 - file.stat().st_size < FEATURES_HEADER
    assert estimate(parse(flat), sizes, on_gpu=False).features == 0


def test_features_of_the_papers_runs(llava):
    config = parse({"preset": "paper-task-hom", "data.root": "/x", "tasks": "clevr-math"})
    known = 576 * 1024 * 2 + FEATURES_HEADER
    assert features_on_disk(config, llava, True) == known * (40_000 + 10_000)
    small = config.model_copy(
        update={"data": config.data.model_copy(update={"test_samples": 3000})}
    )
    assert features_on_disk(small, llava, True) == known * 43_000


def test_less_memory_by_each_of_the_ways(llava):
    def needed(**changes):
        values = {key.replace("__", ".").replace("_", "-"): v for key, v in changes.items()}
        return training_memory(parse({"preset": "paper-task-hom", **values}), llava, on_gpu=True)

    usual = needed()
    assert needed(train__gradient_checkpointing=False) > usual
    assert needed(model__attention="eager") > usual
    assert needed(train__batch_size=4) < usual
    assert needed(model__quantization="nf4") < needed(model__quantization="int8") < usual
    assert needed(train__accumulation=1) == usual


def test_weights_by_precision(llava):
    def weights(**model):
        changes = {f"model.{key}": value for key, value in model.items()}
        config = parse({"preset": "paper-task-hom", **changes})
        return frozen_weights(config, llava, on_gpu=True) / 2**30

    assert weights() == pytest.approx(13.2, abs=0.2)
    assert weights(quantization="int8") == pytest.approx(7.1, abs=0.3)
    assert weights(quantization="nf4") == pytest.approx(4.2, abs=0.3)
    assert weights(dtype="auto") == weights()


def test_other_methods_are_not_estimated(llava):
    with pytest.raises(ConfigError, match="method: 'ewc' is not allowed for an estimate"):
        estimate(parse({"method": "ewc"}), llava, on_gpu=False)


def test_a_run_that_cannot_fit_is_refused_at_the_start():
    config = parse({"preset": "paper-task-hom"})
    check_gpu(config, 0.0, None)
    check_gpu(config, 1.0, 40 * 2**30)
    with pytest.raises(ConfigError, match=r"--client-gpus: 1\.0 is not allowed.*sees no GPU"):
        check_gpu(config, 1.0, None)
    with pytest.raises(ConfigError, match=r"needs about .* there are 20\.0 GiB.*nf4"):
        check_gpu(config, 0.5, 40 * 2**30)


def test_the_command_refuses_what_cannot_fit():
    asked = ["estimate", "--preset", "paper-task-hom", "--json", "--memory"]
    fits = CliRunner().invoke(app, [*asked, "79"])
    assert fits.exit_code == 0
    assert json.loads(fits.stdout)["round_down"] > 0
    small = CliRunner().invoke(app, [*asked, "11"])
    assert small.exit_code == 1
    assert "train.batch-size = 8 with train.accumulation = 16" in small.stderr
    assert "model.quantization = nf4" in small.stderr
