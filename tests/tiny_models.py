"""Small random models of other architectures than LLaVA, in Hugging Face layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_llava import build_tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Idefics3Config,
    LlamaConfig,
    Qwen2_5_VLConfig,
    Qwen2Config,
    SmolVLMConfig,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

SEEING = ("qwen2_5_vl", "smolvlm", "idefics3")
TEXT_ALONE = ("llama", "qwen2")

# as in the real checkpoints' templates: the turns' marks, and how a picture is named
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOL_TEMPLATE = (
    "<s>{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[INST] {{ message['content'] }} [/INST]"
    "{% endfor %}"
)

_TEXT = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.25,
}
_TILES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 4,
    "initializer_range": 0.25,
}


def save_tiny_model(kind: str, folder: Path, seed: int = 0) -> Path:
    """Write a random model of a ``model_type``: weights, configuration, tokenizer, processor."""
    tokenizer = build_tokenizer()
    marks = {"qwen2_5_vl": _QWEN_MARKS, "qwen2": _QWEN_MARKS, "llama": []}.get(kind, _SMOL_MARKS)
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    if kind.startswith("qwen"):
        tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
        tokenizer.bos_token = None
    if kind == "llama":
        tokenizer.pad_token = None
    text = {
        **_TEXT,
        "vocab_size": len(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config, images = _parts(kind, text, tokenizer)
    factory: Any = AutoModelForImageTextToText if kind in SEEING else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = factory.from_config(config)
        if kind not in SEEING:
            model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.chat_template = _TEMPLATES[kind]
    tokenizer.save_pretrained(folder)
    if images is not None:
        images.save_pretrained(folder)
    return folder


_QWEN_MARKS = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
]
_SMOL_MARKS = [
    *("<fake_token_around_image>", "<global-img>", "<end_of_utterance>"),
    *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)),
]
_TEMPLATES = {
    "qwen2_5_vl": QWEN_TEMPLATE,
    "qwen2": QWEN_TEMPLATE,
    "smolvlm": SMOL_TEMPLATE,
    "idefics3": SMOL_TEMPLATE,
    "llama": LLAMA_TEMPLATE,
}


def _parts(kind: str, text: dict[str, Any], tokenizer: Any) -> tuple[Any, Any]:
    """Configuration and image processor."""

    def number(token: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(token))

    if kind == "qwen2_5_vl":
        rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
        vision = {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": _TEXT["hidden_size"],
            "patch_size": 4,
            "spatial_merge_size": 2,
            "window_size": 16,
            "fullatt_block_indexes": [1],
            "initializer_range": 0.25,
        }
        config: Any = Qwen2_5_VLConfig(
            text_config={**text, "rope_parameters": rope},
            vision_config=vision,
            image_token_id=number("<|image_pad|>"),
            video_token_id=number("<|video_pad|>"),
            vision_start_token_id=number("<|vision_start|>"),
            vision_end_token_id=number("<|vision_end|>"),
        )
        size = {"shortest_edge": 64, "longest_edge": 2048}
        return config, Qwen2VLImageProcessorPil(patch_size=4, merge_size=2, size=size)
    if kind in ("smolvlm", "idefics3"):
        made: Any = SmolVLMConfig if kind == "smolvlm" else Idefics3Config
        config = made(
            text_config={**text, "model_type": "llama"},
            vision_config=_TILES,
            scale_factor=2,
            image_token_id=number("<image>"),
            pad_token_id=tokenizer.pad_token_id,
        )
        cut: Any = SmolVLMImageProcessorPil if kind == "smolvlm" else Idefics3ImageProcessorPil
        sizes = {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 16}}
        return config, cut(**sizes)
    plain: Any = LlamaConfig if kind == "llama" else Qwen2Config
    return plain(**text), None
