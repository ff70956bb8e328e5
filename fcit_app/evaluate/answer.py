"""Greedy answers of the base with a bank, for batches of mixed tasks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from fcit_app.data import catalogue
from fcit_app.data.sample import Sample
from fcit_app.model.activation import Activation, activation_weights
from fcit_app.model.base import BaseModel, Vision
from fcit_app.model.features import SampleFeatures
from fcit_app.model.prompt import encode_prompts
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures

_Configuration: Any = GenerationConfig  # transformers leaves its constructor without annotations


@torch.inference_mode()
def answer(
    session: BankSession,
    samples: Sequence[Sample],
    vision: VisionFeatures,
    weights: Tensor,
    batch_size: int = 100,
) -> list[str]:
    """Answer questions about pictures, each with its own mixture of the bank's subspaces.

    Answers do not depend on ``batch_size`` or on the order of the samples.

    Parameters
    ----------
    session : BankSession
        Entered, that is with its bank installed.
    samples : Sequence[Sample]
        Of any tasks; their answers are not looked at.
    vision : VisionFeatures
        Cache of the same base.
    weights : Tensor
        Of each sample's subspaces, shape (samples, subspaces), see ``question_weights``.
    batch_size : int
        Samples that are answered together.

    Returns
    -------
    list[str]
        One stripped answer per sample, in the given order.
    """
    base = session.base
    prompts = encode_prompts(base, samples)
    limits = _limits(samples)
    answers = [""] * len(samples)
    groups = _batches(samples, prompts, limits, batch_size)
    for places, following in zip_longest(groups, groups[1:], fillvalue=()):
        features = vision.of([samples[place] for place in places])
        vision.expect(samples[place] for place in following)
        with session.weighted(weights[places]):
            generated = _generate(
                base,
                [prompts[place] for place in places],
                features,
                max(limits[place] for place in places),
            )
        for place, identifiers in zip(places, generated, strict=True):
            text = base.tokenizer.decode(identifiers[: limits[place]], skip_special_tokens=True)
            answers[place] = text.strip()
    return answers


def batches(session: BankSession, samples: Sequence[Sample], batch_size: int) -> list[list[int]]:
    """Places of the samples that ``answer`` takes together, in its order.

    Each of them answered by itself gives the same bits as all of them in one call.
    """
    return _batches(samples, encode_prompts(session.base, samples), _limits(samples), batch_size)


def question_weights(
    session: BankSession,
    samples: Sequence[Sample],
    features: SampleFeatures,
    activation: Activation = "softmax",
    temperature: float = 0.05,
    together: int = 1,
    open_world: float = 0.0,
) -> Tensor:
    """Activation weights of each sample.

    Parameters
    ----------
    session : BankSession
        Gives the bank's identity tokens.
    samples : Sequence[Sample]
        Of any tasks. What is alike is encoded once: of tokens from text, equal questions.
    features : SampleFeatures
        Those of which the bank's identity tokens were made (``identity.token``).
    activation, temperature, open_world
        See ``fcit_app.model.activation.activation_weights``.
    together : int
        1 routes each sample by itself. More routes so many samples in a row by the mean of their
        features, as the released code does with a batch: then the weights, and with them the
        answers, depend on this number and on the order of the samples.

    Returns
    -------
    Tensor
        Float32, shape (samples, subspaces); ones where the bank has no identity tokens. Where
        questions choose soft prompts (L2P) the features themselves, shape (samples, width).

    Raises
    ------
    ModelError
        If the features are not the bank's.
    """
    tokens = session.tokens
    if (tokens is None and session.pool is None) or not samples:
        return torch.ones(len(samples), len(session.bank.subspaces))
    keys = [features.key(sample) for sample in samples]
    distinct = dict(zip(keys, samples, strict=True))
    row = {key: number for number, key in enumerate(sorted(distinct))}
    asked = torch.from_numpy(features.of([distinct[key] for key in row]))
    places = torch.tensor([row[key] for key in keys])
    if together > 1:
        rows = asked.double()[places]
        starts = range(0, len(rows), together)
        asked = torch.stack([rows[start : start + together].mean(dim=0) for start in starts])
        places = torch.arange(len(rows)) // together
    if tokens is None:
        return asked.float()[places]
    weights = activation_weights(asked, tokens, activation, temperature, session.owners, open_world)
    return weights[places]


def _limits(samples: Sequence[Sample]) -> list[int]:
    return [s.answer_tokens or catalogue.task(s.task).max_new_tokens for s in samples]


def _batches(
    samples: Sequence[Sample],
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    batch_size: int,
) -> list[list[int]]:
    """Alike rows together: little padding, and few rows that wait for a longer answer."""
    order = sorted(
        range(len(samples)),
        key=lambda place: (limits[place], len(prompts[place]), samples[place].identifier),
    )
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def _generate(
    base: BaseModel, prompts: Sequence[Sequence[int]], vision: Vision, limit: int
) -> list[list[int]]:
    """Give each row's new token identifiers up to its end of sequence, at most ``limit``."""
    length = max(map(len, prompts))
    input_ids = torch.full((len(prompts), length), base.tokenizer.pad_token_id)
    mask = torch.zeros_like(input_ids)
    for row, prompt in enumerate(prompts):  # on the left: all rows go on at the same place
        input_ids[row, length - len(prompt) :] = torch.tensor(prompt)
        mask[row, length - len(prompt) :] = 1
    end = base.tokenizer.eos_token_id
    output = base.model.generate(
        **base.inputs(input_ids.to(base.device), vision, mask.to(base.device)),
        generation_config=_Configuration(
            max_new_tokens=min(limit, base.max_length - length),
            do_sample=False,
            num_beams=1,
            bos_token_id=base.tokenizer.bos_token_id,
            pad_token_id=base.tokenizer.pad_token_id,
            eos_token_id=end,
        ),
    )
    rows: list[list[int]] = output.tolist()
    return [row[: row.index(end)] if end in row else row for row in rows]
