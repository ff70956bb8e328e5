"""Answers with a bank: right mixture per question, whatever the batch size and the order."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from tiny_llava import QUESTIONS, toy_samples
from torch.nn import Parameter
from toy_banks import RANK, SCALING, fingerprint, merged_by_hand, random_bank
from transformers import LlavaForConditionalGeneration

from fcit_app.arrays import Array
from fcit_app.data import catalogue
from fcit_app.data.sample import Sample
from fcit_app.errors import ModelError
from fcit_app.evaluate.answer import answer, question_weights
from fcit_app.identity.encoders import HashedNgramEncoder
from fcit_app.model.activation import activation_weights
from fcit_app.model.adapters import parameter_handles, wrap
from fcit_app.model.bank import Bank, Subspace
from fcit_app.model.base import BaseModel
from fcit_app.model.features import QuestionFeatures
from fcit_app.model.prompt import prompt_text
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures

FEATURES = QuestionFeatures(HashedNgramEncoder())
SAMPLES = [
    *toy_samples(8, "figureqa"),
    *toy_samples(4, "grounding", start=8),
    *toy_samples(3, "flickr30k", start=12),
]


@pytest.fixture
def adapted(tiny_base: BaseModel) -> PeftModel:
    return wrap(tiny_base, RANK, SCALING)


@pytest.fixture
def handles(adapted: PeftModel) -> dict[str, Parameter]:
    return parameter_handles(adapted, projector=False)


@pytest.fixture(scope="module")
def plain(tiny_folder: Path) -> Any:
    """The same base, without PEFT."""
    return LlavaForConditionalGeneration.from_pretrained(tiny_folder, attn_implementation="eager")


def answered(
    base: BaseModel, bank: Bank, samples: list[Sample], batch_size: int = 100, **options: Any
) -> list[str]:
    with BankSession(base, bank) as session:
        weights = question_weights(session, samples, FEATURES, **options)
        return answer(session, samples, VisionFeatures(base), weights, batch_size)


@torch.no_grad()
def one_by_one(base: BaseModel, model: Any, samples: list[Sample]) -> list[str]:
    """Answers of a model without PEFT, from pixels, a sample at a time, by ``generate``."""
    answers = []
    for sample in samples:
        inputs = base.processor(
            images=[sample.picture()],
            text=[prompt_text(base, sample.question)],
            add_special_tokens=False,
            return_tensors="pt",
        )
        limit = catalogue.task(sample.task).max_new_tokens
        output = model.generate(**inputs, max_new_tokens=limit, do_sample=False)
        new = output[0, inputs["input_ids"].shape[1] :]
        answers.append(base.tokenizer.decode(new, skip_special_tokens=True).strip())
    return answers


def test_the_empty_bank_gives_the_bases_answers(
    tiny_base: BaseModel, adapted: PeftModel, plain: Any
) -> None:
    answers = answered(tiny_base, Bank(), SAMPLES)
    assert answers == one_by_one(tiny_base, plain, SAMPLES)
    assert len(set(answers)) > 3, "the test says something only if answers differ"


def test_each_question_gets_the_answer_of_its_own_mixture(
    tiny_base: BaseModel, handles: dict[str, Parameter], plain: Any
) -> None:
    bank = random_bank(handles, 3)
    with BankSession(tiny_base, bank) as session:
        weights = question_weights(session, SAMPLES, FEATURES, temperature=0.2).tolist()
    assert any(max(row) < 0.9 for row in weights), "some questions must really mix subspaces"
    answers = answered(tiny_base, bank, SAMPLES, temperature=0.2, batch_size=4)
    adapters = [subspace.adapter for subspace in bank.subspaces]
    for sample, weight, said in zip(SAMPLES, weights, answers, strict=True):
        dense = merged_by_hand(plain, adapters, weight)
        assert [said] == one_by_one(tiny_base, dense, [sample])


@pytest.mark.parametrize("activation", ["softmax", "argmax", "cosine", "concat"])
def test_answers_do_not_depend_on_batch_size_or_order(
    tiny_base: BaseModel, handles: dict[str, Parameter], activation: str
) -> None:
    bank = random_bank(handles, 3)
    expected = answered(tiny_base, bank, SAMPLES, activation=activation)
    order = random.Random(1).sample(range(len(SAMPLES)), len(SAMPLES))
    mixed = [SAMPLES[place] for place in order]
    for size in (1, 4, 7):
        answers = answered(tiny_base, bank, mixed, activation=activation, batch_size=size)
        assert answers == [expected[place] for place in order]


def test_one_subspace_without_token_is_used_whole(
    tiny_base: BaseModel, handles: dict[str, Parameter], plain: Any
) -> None:
    adapter = random_bank(handles, 1).subspaces[0].adapter
    bank = Bank((Subspace(0, adapter, None, 1),))
    expected = one_by_one(tiny_base, merged_by_hand(plain, [adapter], [1.0]), SAMPLES)
    assert answered(tiny_base, bank, SAMPLES) == expected


def test_the_banks_projector_is_used_and_taken_back(
    tiny_base: BaseModel, adapted: PeftModel
) -> None:
    own = answered(tiny_base, Bank(), SAMPLES)
    before = fingerprint(adapted)
    live = parameter_handles(adapted, projector=True)
    generator = np.random.default_rng(0)
    projector: dict[str, Array] = {
        name: generator.standard_normal(tuple(p.shape)).astype(np.float32)
        for name, p in live.items()
        if "projector" in name
    }
    assert answered(tiny_base, Bank((), projector), SAMPLES) != own
    assert fingerprint(adapted) == before


def test_weights_look_at_the_question_only(
    tiny_base: BaseModel, handles: dict[str, Parameter]
) -> None:
    with BankSession(tiny_base, random_bank(handles, 3)) as session:
        samples = toy_samples(4)
        weights = question_weights(session, samples, FEATURES, "argmax")
        assert weights[:3].tolist() == torch.eye(3).tolist()
        others = [
            dataclasses.replace(sample, answer="?", identifier=f"x{number}", task="dvqa")
            for number, sample in enumerate(samples)
        ]
        assert torch.equal(question_weights(session, others, FEATURES, "argmax"), weights)
        assert [sample.question for sample in samples] == list(QUESTIONS)


def test_a_batch_is_routed_by_the_mean_of_its_features(
    tiny_base: BaseModel, handles: dict[str, Parameter]
) -> None:
    """The released code's routing: ours is its case of batches of one."""
    samples = SAMPLES[:7]
    with BankSession(tiny_base, random_bank(handles, 3)) as session:
        assert session.tokens is not None
        alone = question_weights(session, samples, FEATURES)
        for size in (2, 3, 7, 100):
            together = question_weights(session, samples, FEATURES, together=size)
            for start in range(0, len(samples), size):
                batch = samples[start : start + size]
                features = FEATURES.of(batch)
                mean = torch.from_numpy(features).double().mean(dim=0, keepdim=True)
                expected = activation_weights(mean, session.tokens)
                torch.testing.assert_close(
                    together[start : start + size], expected.expand(len(batch), -1)
                )
            assert not torch.allclose(together, alone), "batches mix questions here"
        same = [samples[0]] * 5
        torch.testing.assert_close(
            question_weights(session, same, FEATURES, together=4),
            question_weights(session, same, FEATURES),
        )


def test_no_samples(tiny_base: BaseModel, adapted: PeftModel) -> None:
    assert answered(tiny_base, Bank(), []) == []


def test_a_session_must_be_entered(tiny_base: BaseModel, handles: dict[str, Parameter]) -> None:
    session = BankSession(tiny_base, random_bank(handles, 1))
    with pytest.raises(RuntimeError, match="not entered"):
        answer(session, SAMPLES, VisionFeatures(tiny_base), torch.ones(len(SAMPLES), 1))


def test_another_encoder_than_the_banks_is_refused(
    tiny_base: BaseModel, handles: dict[str, Parameter]
) -> None:
    with (
        BankSession(tiny_base, random_bank(handles, 2)) as session,
        pytest.raises(ModelError, match=r"64 numbers.*1024"),
    ):
        question_weights(session, SAMPLES, QuestionFeatures(HashedNgramEncoder(64)))
