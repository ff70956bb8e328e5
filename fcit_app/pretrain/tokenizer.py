"""The mini base's tokenizer: whole words with their leading space, single letters and digits."""

from __future__ import annotations

from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fcit_app.data.mini.lexicon import SPECIAL_TOKENS, task_texts
from fcit_app.data.mini.questions import Lexicon, make_dialogue
from fcit_app.data.mini.vocabulary import LETTERS

_WORD = r" ?[A-Z]?[a-z]+| ?[A-Z](?![a-z])| ?[0-9]| ?[^\w\s]|\n"

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% if not loop.last or add_generation_prompt %} ASSISTANT:{% endif %}"
    "{% else %} {{ message['content'][0]['text'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Collect every word of tasks and pre-training prompts; the same file at every call."""
    bare = Tokenizer(models.WordLevel({}, unk_token="<unk>"))
    _set_pipeline(bare)
    found: set[str] = {*LETTERS, *"0123456789[],."}
    found |= {f" {mark}" for mark in (*LETTERS, *"0123456789")}
    random = Random("tokenizer")
    for question, answer in task_texts():
        found |= _pieces(bare, question) | _pieces(bare, f" {answer}")
    for _ in range(6000):
        for _, prompt, answer in make_dialogue(random, Lexicon([" the"], [" the"])).turns:
            found |= _pieces(bare, prompt) | _pieces(bare, f" {answer}")
    vocabulary = {piece: index for index, piece in enumerate((*SPECIAL_TOKENS, *sorted(found)))}
    full = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    _set_pipeline(full)
    full.add_special_tokens(
        [AddedToken(token, special=True, lstrip=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=full,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def _set_pipeline(tokenizer: Tokenizer) -> None:
    # A word that begins a line gets the space that every other word has: one form, one embedding.
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace("\n", "\n "), normalizers.Replace(Regex("  +"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()


def _pieces(tokenizer: Tokenizer, text: str) -> set[str]:
    assert tokenizer.normalizer is not None and tokenizer.pre_tokenizer is not None
    normal = tokenizer.normalizer.normalize_str(f"\n{text}")
    return {piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)} - {" "}
