"""A LLaVA of any size with random weights, made on the device, with no download.

Speed and memory do not depend on what the weights are. Tokenizer and image processor are made
here too; a word is a token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sizes import Size
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from fcit_app.model.architectures import architecture_of
from fcit_app.model.base import BaseModel

_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
_WORDS = 100
# Loading a folder asks for one; the runs here use LLaVA-1.5's own prompt (`vicuna-v1`).
_TEMPLATE = "USER: <image>\n{{ messages[0]['content'][1]['text'] }} ASSISTANT:"


def build_base(size: Size, device: torch.device, attention: str = "sdpa") -> BaseModel:
    """Make a base as ``fcit_app.model.base.load_base`` would load it from such a folder.

    Parameters
    ----------
    size : Size
        Its shapes.
    device : torch.device
        The weights are drawn there, in bfloat16 on a GPU and float32 on a CPU; nothing goes through
        the memory of the host.
    attention : str
        See ``model.attention``.
    """
    processor = build_processor(size)
    factory: Any = LlavaForConditionalGeneration
    with torch.device(device):
        model = factory._from_config(
            _config(size, processor.tokenizer),
            dtype=torch.bfloat16 if device.type == "cuda" else torch.float32,
            attn_implementation=attention,
        )
    with torch.no_grad():
        # never the most likely token: every answer takes as many steps
        model.lm_head.weight[processor.tokenizer.eos_token_id] = 0
    model.requires_grad_(False)
    model.eval()
    model.model.multi_modal_projector.float()
    return BaseModel(
        f"random LLaVA ({size.name})",
        model,
        processor,
        architecture_of("llava"),
        size.image_tokens,
        prompt="vicuna-v1",
        pad_to_square=True,
    )


def save_folder(size: Size, device: torch.device, folder: Path) -> Path:
    """Write such a base to a folder in Hugging Face layout, unless it is there already."""
    done = folder / "complete"
    if not done.is_file():
        base = build_base(size, device)
        base.model.save_pretrained(folder)
        base.processor.save_pretrained(folder)
        done.touch()
    return folder


def build_processor(size: Size) -> LlavaProcessor:
    """Tokenizer of whole words, and LLaVA-1.5's image processor at the size's resolution."""
    words = [f"w{number}" for number in range(_WORDS)]
    vocabulary = {word: number for number, word in enumerate((*_SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapper: Any = PreTrainedTokenizerFast
    factory: Any = LlavaProcessor
    processor: LlavaProcessor = factory(
        image_processor=LlavaImageProcessorPil(
            size={"shortest_edge": size.image},
            crop_size={"height": size.image, "width": size.image},
        ),
        tokenizer=wrapper(
            tokenizer_object=tokenizer,
            pad_token="<pad>",
            bos_token="<s>",
            eos_token="</s>",
            unk_token="<unk>",
            extra_special_tokens={"image_token": "<image>"},
            clean_up_tokenization_spaces=False,
        ),
        patch_size=size.patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_TEMPLATE,
    )
    return processor


def _config(size: Size, tokenizer: Any) -> LlavaConfig:
    ids: dict[str, int] = {
        name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")
    }
    vision = CLIPVisionConfig(
        hidden_size=size.vision_hidden,
        intermediate_size=size.vision_ffn,
        num_hidden_layers=size.vision_layers,
        num_attention_heads=size.vision_heads,
        image_size=size.image,
        patch_size=size.patch,
    )
    text = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.ffn,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        **ids,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=size.image_tokens,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )
