"""From a question to token identifiers, in the base's prompt format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fcit_app.data.sample import Sample, picture_of
from fcit_app.errors import DataError, ModelError
from fcit_app.model.base import SOFT_TOKEN, BaseModel
from fcit_app.model.placeholders import picture_text

VICUNA_V1 = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. "
    "USER: {image}\n{question} ASSISTANT:"
)
"""LLaVA-1.5's own prompt, in training and in evaluation (official code, ``vicuna_v1``).

The chat template that comes with llava-hf/llava-1.5-7b-hf lacks its first two sentences.
"""


def prompt_text(base: BaseModel, question: str, pictured: bool = True) -> str:
    """Write the prompt of one question up to where its answer begins, with one image placeholder.

    Without a picture, or for a base of text alone, it has no placeholder. In the format of the
    base's chat template, or in ``VICUNA_V1`` if the base is asked for so. Special tokens written in
    the question are replaced by a blank: a data set must not be able to end the prompt early or to
    add a picture.
    """
    question = _without_special_tokens(base, question)
    sees = base.architecture.sees
    shown = sees and pictured
    if base.prompt == "vicuna-v1":
        form = VICUNA_V1 if shown else VICUNA_V1.replace("{image}\n", "")
        return form.format(image=base.processor.image_token, question=question)
    # a base that sees has a template for lists of parts, one of text alone for texts
    parts = [*([{"type": "image"}] if shown else []), {"type": "text", "text": question}]
    content: Any = parts if sees else question
    rendered = base.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    return str(rendered)


def encode_prompts(base: BaseModel, samples: Sequence[Sample]) -> list[list[int]]:
    """Token identifiers of each sample's prompt, image placeholders written out.

    Raises
    ------
    DataError
        If a prompt leaves no room for an answer; pictures must never be cut.
    """
    prompts = _tokenize(base, samples, _prompt_texts(base, samples))
    for sample, prompt in zip(samples, prompts, strict=True):
        _check_question(base, sample, len(prompt))
    return prompts


def encode_dialogues(base: BaseModel, samples: Sequence[Sample]) -> list[tuple[list[int], int]]:
    """Token identifiers of prompt, answer and end of sequence, with the prompt's length.

    Prompt and answer are tokenised as one text, as the tokenizer would see them, so the boundary
    is right for tokenizers that write the blank before a word into the word.

    Returns
    -------
    list of (list of int, int)
        ``(identifiers, prompt_length)`` per sample.

    Raises
    ------
    DataError
        If a dialogue is longer than the base's context: neither a picture nor an answer is cut.
    ModelError
        If the tokenizer leaves no boundary between prompt and answer.
    """
    dialogues = _dialogues(base, samples)
    for sample, (identifiers, length) in zip(samples, dialogues, strict=True):
        _check_question(base, sample, length)
        if len(identifiers) > base.max_length:
            raise DataError(
                f"The answer of sample '{sample.identifier}' takes {len(identifiers) - length} "
                f"tokens after {length} of its question{_with(base, sample)}; the model "
                f"'{base.name}' allows {base.max_length} together. Shorten it, or leave such "
                "samples out (data.on-bad-sample = skip)."
            )
    return dialogues


def fitting(base: BaseModel, samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Give the samples whose question and answer fit the base's context, in their order."""
    found = zip(samples, _dialogues(base, samples), strict=True)
    return tuple(sample for sample, (row, _) in found if len(row) <= base.max_length)


def _dialogues(base: BaseModel, samples: Sequence[Sample]) -> list[tuple[list[int], int]]:
    """See ``encode_dialogues``, of any length."""
    texts = _prompt_texts(base, samples)
    prompts = _tokenize(base, samples, texts)
    answers = [_without_special_tokens(base, sample.answer) for sample in samples]
    # a blank before the answer, unless the template ends its line before it
    wholes = _tokenize(
        base,
        samples,
        [
            f"{text}{'' if text[-1:].isspace() else ' '}{said}"
            for text, said in zip(texts, answers, strict=True)
        ],
    )
    dialogues = []
    for prompt, whole in zip(prompts, wholes, strict=True):
        if whole[: len(prompt)] != prompt:
            raise ModelError(
                f"The tokenizer of '{base.name}' merges the end of the prompt with the answer, so "
                "the answer's tokens cannot be told apart. Use a tokenizer that splits at blanks."
            )
        dialogues.append(([*whole, base.tokenizer.eos_token_id], len(prompt)))
    return dialogues


def _prompt_texts(base: BaseModel, samples: Sequence[Sample]) -> list[str]:
    return [prompt_text(base, sample.question, sample.picture is not None) for sample in samples]


def _check_question(base: BaseModel, sample: Sample, length: int) -> None:
    if length >= base.max_length:
        raise DataError(
            f"The question of sample '{sample.identifier}' takes {length} tokens"
            f"{_with(base, sample)}; the model '{base.name}' allows {base.max_length - 1}. "
            "Shorten it."
        )


def _with(base: BaseModel, sample: Sample) -> str:
    """Say what stands in a prompt beside the question."""
    beside = ["its picture"] if base.architecture.sees and sample.picture else []
    if base.prefix is not None:
        beside.append(f"{base.prefix.length} soft tokens (l2p.top times l2p.length)")
    return f" with {' and '.join(beside)}" if beside else ""


def _without_special_tokens(base: BaseModel, text: str) -> str:
    for token in filter(None, (*base.tokenizer.all_special_tokens, base.processor.image_token)):
        text = text.replace(token, " ")
    return text


def _tokenize(base: BaseModel, samples: Sequence[Sample], texts: Sequence[str]) -> list[list[int]]:
    """Tokenise rendered prompts; the first image token becomes all placeholders of the picture.

    Placeholders of soft prompts stand first, where a method has them in use.
    """
    if not texts:
        return []
    expanded = [
        _with_placeholders(base, sample, text) for sample, text in zip(samples, texts, strict=True)
    ]
    # the template may or may not write the first token itself
    begun = bool(base.tokenizer.bos_token) and expanded[0].startswith(base.tokenizer.bos_token)
    encoded = base.tokenizer(expanded, add_special_tokens=not begun)
    soft = [] if base.prefix is None else [SOFT_TOKEN] * base.prefix.length
    return [[*soft, *map(int, row)] for row in encoded["input_ids"]]


def _with_placeholders(base: BaseModel, sample: Sample, text: str) -> str:
    """Write the image token out: as often as always, or as the picture's size demands."""
    sight, image = base.architecture.sight, base.processor.image_token
    if sight == "none" or sample.picture is None:
        return text
    if sight == "fixed":
        return text.replace(image, image * base.image_tokens, 1)
    width, height = _picture_size(base, sample)
    images = base.processor.image_processor
    written = picture_text(sight, images, base.image_tokens, width, height)
    return text.replace(image, written, 1)


def _picture_size(base: BaseModel, sample: Sample) -> tuple[int, int]:
    if sample.identifier not in base.picture_sizes:
        base.picture_sizes[sample.identifier] = picture_of(sample).size
    width, height = base.picture_sizes[sample.identifier]
    return (max(width, height),) * 2 if base.pad_to_square else (width, height)
