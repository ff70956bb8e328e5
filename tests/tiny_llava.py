"""A small random LLaVA with tokenizer and processor, in Hugging Face layout, and toy samples.

It has the architecture, file layout and prompt format of a real base, so that tests exercise the
product's own loading, training and answering code, in milliseconds and without a download.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from fcit_app.data.sample import Sample

SPECIAL_TOKENS = ["<pad>", "<s>", "</s>", "<unk>", "<image>"]

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% else %} ASSISTANT: {{ message['content'][0]['text'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)

QUESTIONS = (
    "What is the colour of the square?\nAnswer the question using a single word or phrase.",
    "How many circles are there in the picture?\nAnswer the question using a single word.",
    "Is the red bar the highest?\nAnswer yes or no.",
    "Which letter?",
)
ANSWERS = ("red", "two", "yes", "B", "a blue circle")


def build_tokenizer(vocabulary_size: int = 320) -> Any:
    """Byte-level BPE, lossless for any text, trained on the toy questions and answers."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = [f"USER: \n{question} ASSISTANT:" for question in QUESTIONS]
    tokenizer.train_from_iterator([*corpus, *(f" {answer}" for answer in ANSWERS)], trainer)
    wrapper: Any = PreTrainedTokenizerFast
    return wrapper(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )


def save_tiny_llava(
    folder: Path,
    hidden: int = 32,
    ffn: int = 64,
    layers: int = 2,
    image_size: int = 24,
    patch: int = 8,
    vocabulary_size: int = 320,
    seed: int = 0,
) -> Path:
    """Write a random LLaVA (weights, configuration, tokenizer, processor) to ``folder``.

    The global random state is left as it was. Weights are drawn wide, so that answers of the
    untrained model differ from each other and no two logits are nearly equal.
    """
    tokenizer = build_tokenizer(vocabulary_size)
    vision = CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=4,
        image_size=image_size,
        patch_size=patch,
        projection_dim=hidden,
        initializer_factor=4.0,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=2048,
        initializer_range=0.25,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(image_size // patch) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    processor_class: Any = LlavaProcessor
    processor = processor_class(
        image_processor=LlavaImageProcessorPil(
            size={"shortest_edge": image_size},
            crop_size={"height": image_size, "width": image_size},
        ),
        tokenizer=tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def toy_picture(number: int, size: int = 24) -> Image.Image:
    """A picture of coloured noise that depends on ``number`` only."""
    pixels = np.random.default_rng(number).integers(0, 255, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def toy_samples(count: int, task: str = "figureqa", start: int = 0, size: int = 24) -> list[Sample]:
    """``count`` samples with different pictures, questions of several lengths and short answers."""
    return [
        Sample(
            identifier=f"{task}/toy/{number}",
            task=task,
            question=QUESTIONS[number % len(QUESTIONS)],
            answer=ANSWERS[number % len(ANSWERS)],
            picture=lambda number=number: toy_picture(number, size),  # type: ignore[misc]
        )
        for number in range(start, start + count)
    ]
