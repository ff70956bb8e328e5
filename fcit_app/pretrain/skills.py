"""How well the base sees: accuracy of every skill on unseen pictures, with and without them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from random import Random

import torch
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from fcit_app.data.mini.questions import Lexicon, make_dialogue
from fcit_app.pretrain import forward_pass
from fcit_app.pretrain.packing import pack


@dataclass(frozen=True)
class Skill:
    """Share of right answers in percent, and the same with pictures exchanged (blind)."""

    accuracy: float
    blind: float
    questions: int


@dataclass(frozen=True)
class SkillTable:
    """Every skill's accuracy."""

    skills: dict[str, Skill]

    def line(self) -> str:
        """All skills in one line: ``name seen/blind``."""
        return " · ".join(
            f"{name} {skill.accuracy:.0f}/{skill.blind:.0f}" for name, skill in self.skills.items()
        )

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Plain numbers for JSON."""
        return {name: vars(skill) for name, skill in self.skills.items()}


@torch.no_grad()
def measure_skills(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    lexicon: Lexicon,
    pictures: int,
    batch_size: int = 100,
) -> SkillTable:
    """Ask the base its own kind of questions about pictures of the validation split.

    An answer is right when every one of its tokens is the most likely one given the tokens before.
    """
    seen: dict[str, list[bool]] = defaultdict(list)
    blind: dict[str, list[bool]] = defaultdict(list)
    random = Random("skills")
    training = model.training
    model.train(False)
    for start in range(0, pictures, batch_size):
        count = min(batch_size, pictures - start)
        asked = [make_dialogue(random, lexicon, "validation") for _ in range(count)]
        batch = pack(tokenizer, [[(q, a) for _, q, a in dialogue.turns] for dialogue in asked])
        images = forward_pass.pixels([dialogue.drawing for dialogue in asked])
        for found, shown in ((seen, images), (blind, images.roll(1, dims=0))):
            with torch.autocast("cpu", torch.bfloat16):
                hidden = forward_pass.forward(model, shown, batch)[2]
                guesses = model.lm_head(hidden).argmax(-1)
            for row, dialogue in enumerate(asked):
                for (skill, _, _), answer in zip(dialogue.turns, batch.answers[row], strict=True):
                    guess = guesses[row, answer.start - 1 : answer.stop - 1]
                    found[skill].append(bool((guess == batch.labels[row, answer]).all()))
    model.train(training)
    return SkillTable(
        {
            name: Skill(_percent(seen[name]), _percent(blind[name]), len(seen[name]))
            for name in sorted(seen)
        }
    )


def _percent(values: list[bool]) -> float:
    return round(100 * sum(values) / len(values), 1)
