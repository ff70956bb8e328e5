"""Held-out questions of the mini base's own kind: what it could do before any fine-tuning.

They are to the mini base what MME and POPE are to LLaVA-1.5 in FCIT's table of general ability.
"""

from __future__ import annotations

from random import Random

from PIL import Image

from fcit_app.data.mini.questions import Dialogue, Lexicon, make_dialogue
from fcit_app.data.mini.splits import Split
from fcit_app.data.sample import Sample


def skill_samples(lexicon: Lexicon, pictures: int, split: Split = "test") -> tuple[Sample, ...]:
    """Ask the base's own questions about pictures that it has never seen.

    Parameters
    ----------
    lexicon : Lexicon
        Words of the prompts, see ``build_lexicon``.
    pictures : int
        How many pictures; each is asked up to nine questions.
    split : Split
        Where pictures come from. Pre-training has seen none of ``test``, and the base was not
        chosen by them either.

    Returns
    -------
    tuple[Sample, ...]
        Their ``task`` is the name of the skill. Questions about one picture share the very same
        ``picture``, by which they can be told to belong together.
    """
    return tuple(
        sample for index in range(pictures) for sample in _about_one(lexicon, split, index)
    )


def _about_one(lexicon: Lexicon, split: Split, index: int) -> list[Sample]:
    def picture() -> Image.Image:
        return _dialogue(lexicon, split, index).drawing.image

    return [
        Sample(f"skills/{split}/{index}@{turn}", skill, question, answer, picture)
        for turn, (skill, question, answer) in enumerate(_dialogue(lexicon, split, index).turns)
    ]


def _dialogue(lexicon: Lexicon, split: Split, index: int) -> Dialogue:
    return make_dialogue(Random(f"skills/{split}/{index}"), lexicon, split)
