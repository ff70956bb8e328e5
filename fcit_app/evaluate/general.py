"""General ability: what is left of the base's own skills after fine-tuning on tasks.

FCIT measures it with MME and POPE; the mini base has a held-out set of its pre-training skills,
asked in its own prompts (``docs/skills.md`` has the table it was chosen by).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fcit_app.data.mini.lexicon import build_lexicon
from fcit_app.data.mini.questions import SENTENCE_LEADS
from fcit_app.data.mini.skill_set import skill_samples
from fcit_app.data.sample import Sample
from fcit_app.model.base import BaseModel
from fcit_app.model.prompt import encode_dialogues
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures

PICTURES = 200
"""Some 1500 questions, 12 to 140 a skill: seconds to ask, and the mean over skills is good to a
point or two."""


def held_out_skills(base: BaseModel) -> tuple[Sample, ...]:
    """Give the held-out questions of the mini base; ``task`` is the skill they ask for."""
    return skill_samples(build_lexicon(base.tokenizer), PICTURES)


@torch.inference_mode()
def said_exactly(
    session: BankSession,
    samples: Sequence[Sample],
    vision: VisionFeatures,
    weights: Tensor,
    batch_size: int = 100,
) -> list[bool]:
    """Tell for each sample whether greedy decoding gives its answer, to the end and word by word.

    That is so if each of the answer's tokens and the end of sequence is the most likely one given
    the right tokens before it, which one forward pass shows: no token need be generated. The skill
    table of pre-training is made the same way.

    Parameters
    ----------
    session : BankSession
        Entered.
    samples : Sequence[Sample]
        Questions with the answers to be met.
    vision : VisionFeatures
        Cache of the same base.
    weights : Tensor
        Shape (samples, subspaces), see ``answer.question_weights``.
    batch_size : int
        Samples that are judged together; makes no difference to the result.
    """
    base = session.base
    dialogues = encode_dialogues(base, samples)
    # several questions are about one picture: it goes through the vision tower under one name
    about = {sample.picture: sample for sample in reversed(samples)}
    order = sorted(range(len(samples)), key=lambda place: len(dialogues[place][0]))
    right = [False] * len(samples)
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        rows = [torch.tensor(dialogues[place][0]) for place in places]
        # padding on the right needs no attention mask: no answer token looks that far
        input_ids = torch.nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=base.tokenizer.pad_token_id
        ).to(base.device)
        wanted = torch.zeros_like(input_ids, dtype=torch.bool)
        for row, place in enumerate(places):
            identifiers, prompt = dialogues[place]
            wanted[row, prompt : len(identifiers)] = True
        seen = vision.of([about[samples[place].picture] for place in places])
        with session.weighted(weights[places]):  # also of projectors, if subspaces have their own
            inputs = base.inputs(input_ids, seen)
            states = base.decoder(**inputs, use_cache=False)
        guesses = torch.zeros_like(input_ids)
        asked = wanted[:, 1:]
        logits = base.model.lm_head(states.last_hidden_state[:, :-1][asked])
        guesses[:, 1:][asked] = logits.argmax(dim=-1)
        met = ((guesses == input_ids) | ~wanted).all(dim=1)
        for place, met_all in zip(places, met.tolist(), strict=True):
            right[place] = met_all
    return right


@dataclass(frozen=True)
class SkillScores:
    """Percentage of right answers to the base's own questions.

    The two forms are kept apart, since they fare quite differently: a tuned model answers most
    prompts without a tag in a task's form, often rightly, which counts as wrong here (measured in
    ``docs/analysis.md``).

    Parameters
    ----------
    skills : dict[str, float]
        By skill, in alphabetical order; over both forms, as in the table of pre-training.
    short : float
        Over the questions whose prompt says how the short answer is to be written.
    sentences : float
        Over those that are answered by a sentence, "it is ...".
    """

    skills: dict[str, float]
    short: float
    sentences: float


def score_skills(samples: Sequence[Sample], right: Sequence[bool]) -> SkillScores:
    """Count right answers by skill and by form; there must be some of both forms."""
    by_skill: dict[str, list[bool]] = defaultdict(list)
    by_form: dict[bool, list[bool]] = {False: [], True: []}
    for sample, met in zip(samples, right, strict=True):
        by_skill[sample.task].append(met)
        by_form[sample.answer.startswith(SENTENCE_LEADS)].append(met)
    return SkillScores(
        {skill: _percent(by_skill[skill]) for skill in sorted(by_skill)},
        _percent(by_form[False]),
        _percent(by_form[True]),
    )


def _percent(right: Sequence[bool]) -> float:
    return 100.0 * sum(right) / len(right)
