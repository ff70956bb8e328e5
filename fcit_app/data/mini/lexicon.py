"""The words of the mini base's own prompts, read off its tokenizer and the tasks' texts."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from fcit_app.data.mini.questions import Lexicon
from fcit_app.data.mini.splits import SplitPen
from fcit_app.data.mini.tasks import DRAWN, make_exercise
from fcit_app.data.mini.vocabulary import COLOURS, LETTERS, OBJECTS, SHAPES, TRENDS, plural

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "USER:", "ASSISTANT:")


def build_lexicon(tokenizer: Any) -> Lexicon:
    """Words to copy (the whole vocabulary), and filler (function words of the tasks' prompts).

    ``tokenizer`` is the mini base's, a ``PreTrainedTokenizerFast``.
    """
    content = {*COLOURS, *SHAPES, *(plural(shape) for shape in SHAPES), *OBJECTS, *TRENDS}
    content |= {word.capitalize() for word in content} | {*LETTERS, *"0123456789"}
    in_prompts: set[str] = set()
    for question, _ in task_texts():
        in_prompts |= {
            str(tokenizer.decode(index)) for index in tokenizer(f"\n{question}").input_ids
        }
    filler = sorted(piece for piece in in_prompts if piece.strip() not in content)
    words = sorted(set(tokenizer.get_vocab()) - {*SPECIAL_TOKENS, "\n"})
    return Lexicon(words, filler)


def task_texts(each: int = 300) -> Iterator[tuple[str, str]]:
    """Questions and answers of all tasks, about pictures of the pre-training split."""
    pen = SplitPen(Random("task texts"), "pretraining")
    for task in DRAWN:
        for _ in range(each):
            exercise = make_exercise(task, pen)
            yield exercise.question, exercise.answer
