"""The mini base: a LLaVA-architecture model of under two million parameters, and its processor."""

from __future__ import annotations

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from fcit_app.data.mini.vocabulary import PATCH_SIZE, PATCHES, PICTURE_SIZE

HIDDEN, FFN, LAYERS, HEADS = 128, 384, 4, 4
# Pixels become (x / 255 - 0.88) * 3: the pale backgrounds are then close to zero.
PIXEL_MEAN, PIXEL_STD = 0.88, 1 / 3


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlavaForConditionalGeneration:
    """Draw a fresh model; the same seed gives the same weights."""
    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=FFN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        image_size=PICTURE_SIZE,
        patch_size=PATCH_SIZE,
        projection_dim=HIDDEN,
        hidden_act="gelu",
    )
    special = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=FFN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=512,
        initializer_range=0.06,
        tie_word_embeddings=True,
        **special,
    )
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    assert isinstance(image_token, int)
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image_token,
        image_seq_length=PATCHES,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    for name, index in special.items():
        setattr(model.generation_config, name, index)
    model.set_attn_implementation("eager")
    return model


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Build the processor that turns pictures and chats into model inputs."""
    pictures = LlavaImageProcessorPil(
        size={"shortest_edge": PICTURE_SIZE},
        crop_size={"height": PICTURE_SIZE, "width": PICTURE_SIZE},
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_STD] * 3,
    )
    return LlavaProcessor(  # type: ignore[no-untyped-call]
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
