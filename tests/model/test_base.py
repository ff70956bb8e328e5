"""A base is loaded once, frozen, and every way a folder can be broken is told by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llava import toy_samples

from fcit_app.errors import ModelError
from fcit_app.model.base import BaseModel, load_base
from fcit_app.model.hub import base_folder
from fcit_app.model.prompt import prompt_text
from fcit_app.model.settings import BaseSettings
from fcit_app.model.vision import VisionFeatures


@pytest.fixture
def copied(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "base"))


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_base_is_loaded_once_and_frozen(tiny_folder: Path) -> None:
    base = load_base(str(tiny_folder))
    assert load_base(str(tiny_folder)) is base
    assert not base.model.training
    assert not any(p.requires_grad for n, p in base.model.named_parameters() if "lora_" not in n)
    assert {p.dtype for p in base.model.parameters()} == {torch.float32}
    assert base.model.config._attn_implementation == "eager"


def test_image_tokens_are_what_the_processor_writes(tiny_base: BaseModel) -> None:
    assert tiny_base.image_tokens == 9


def test_an_unknown_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.name is .*nowhere.*mini"):
        load_base(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("keep", [0, 7, 5000])
def test_cut_weights_are_refused(copied: Path, keep: int) -> None:
    file = copied / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged.*again"):
        load_base(str(copied))


def test_missing_weights_are_refused(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        load_base(str(copied))


def test_a_missing_part_of_split_weights_is_refused(copied: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (copied / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"model-00001-of-00002\.safetensors is missing"):
        load_base(str(copied))


def test_pickled_weights_are_never_read(copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pickled weights \(pytorch_model\.bin\).*Convert"):
        load_base(str(copied))


def test_weights_that_lack_a_tensor_are_refused(copied: Path) -> None:
    file = copied / "model.safetensors"
    tensors = load_file(file)
    lost = next(name for name in tensors if "gate_proj" in name)
    del tensors[lost]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors.*gate_proj"):
        load_base(str(copied))


def test_another_architecture_is_refused(copied: Path) -> None:
    edit_config(copied, model_type="qwen2_vl")
    with pytest.raises(
        ModelError, match=r"'qwen2_vl', which is not supported; allowed are llava, "
    ):
        load_base(str(copied))


def test_a_config_of_other_sizes_is_refused(copied: Path) -> None:
    text = json.loads((copied / "config.json").read_text())["text_config"]
    edit_config(copied, text_config=text | {"hidden_size": 64})
    with pytest.raises(ModelError, match="do not go together"):
        load_base(str(copied))


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_config_is_refused(copied: Path, content: str) -> None:
    (copied / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        load_base(str(copied))


@pytest.mark.parametrize("name", ["tokenizer.json", "processor_config.json"])
def test_a_damaged_processor_is_refused(copied: Path, name: str) -> None:
    (copied / name).write_text("{")
    with pytest.raises(ModelError, match="tokenizer or image processor"):
        load_base(str(copied))


def test_a_processor_without_chat_template_is_refused(copied: Path) -> None:
    (copied / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        load_base(str(copied))


def test_a_checkpoint_that_is_not_in_the_cache_is_told(tmp_path: Path) -> None:
    wanted = BaseSettings("llava-hf/none-such", revision="abc")
    with pytest.raises(ModelError, match=r"at revision abc.*hf download .*--local-dir FOLDER"):
        load_base(wanted)


def test_a_checkpoint_in_the_cache_is_found(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0" * 40
    place = tmp_path / "models--llava-hf--tiny"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    shutil.copytree(tiny_folder, place / "snapshots" / commit)
    monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(tmp_path), raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert base_folder("llava-hf/tiny") == place / "snapshots" / commit
    assert base_folder("llava-hf/tiny", "main") == base_folder("llava-hf/tiny")


def test_the_file_layout_of_llava_hf_is_read(tiny_folder: Path, copied: Path) -> None:
    """Older names of weights and files, as in llava-hf/llava-1.5-7b-hf."""
    former = {"vision_tower.": "vision_tower.vision_model."}
    tensors = {
        next((k.replace(a, b) for a, b in former.items() if k.startswith(a)), k): tensor
        for k, tensor in load_file(copied / "model.safetensors").items()
    }
    assert any(name.startswith("language_model.model.layers.0.mlp") for name in tensors)
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    processor = json.loads((copied / "processor_config.json").read_text())
    pictures = {**processor.pop("image_processor"), "image_processor_type": "CLIPImageProcessor"}
    (copied / "preprocessor_config.json").write_text(json.dumps(pictures))
    (copied / "processor_config.json").write_text(json.dumps(processor))
    template = copied / "chat_template.jinja"
    (copied / "chat_template.json").write_text(json.dumps({"chat_template": template.read_text()}))
    template.unlink()
    base = load_base(str(copied))
    fresh = load_base(str(tiny_folder))
    assert all(
        torch.equal(tensor, base.model.state_dict()[name])
        for name, tensor in fresh.model.state_dict().items()
    )
    samples = toy_samples(2)
    assert torch.equal(VisionFeatures(base).of(samples), VisionFeatures(fresh).of(samples))
    assert prompt_text(base, "What?") == prompt_text(fresh, "What?")
