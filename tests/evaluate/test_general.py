"""General ability: the base's own skills on held-out pictures."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
import torch
from toy_banks import random_bank

from fcit_app.data.mini.lexicon import build_lexicon
from fcit_app.data.mini.skill_set import skill_samples
from fcit_app.data.mini.splits import split_of
from fcit_app.data.sample import Sample
from fcit_app.evaluate.general import said_exactly, score_skills
from fcit_app.model.adapters import parameter_handles, wrap
from fcit_app.model.bank import Bank
from fcit_app.model.base import BaseModel, load_base
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures
from fcit_app.model.weights import mini_path


@pytest.fixture(scope="module")
def mini() -> BaseModel:
    base = load_base("mini")
    wrap(base, 4, 2.0)
    return base


@pytest.fixture(scope="module")
def asked(mini: BaseModel) -> tuple[Sample, ...]:
    return skill_samples(build_lexicon(mini.tokenizer), 60)


def judged(base: BaseModel, bank: Bank, samples: tuple[Sample, ...], size: int = 100) -> list[bool]:
    with BankSession(base, bank) as session:
        weights = torch.ones(len(samples), len(bank.subspaces))
        return said_exactly(session, samples, VisionFeatures(base), weights, size)


def test_the_untouched_base_has_the_accuracy_of_its_skill_table(
    mini: BaseModel, asked: tuple[Sample, ...]
) -> None:
    """All answers together, within three standard errors of the committed table's."""
    table = json.loads((mini_path() / "skills.json").read_text())["skills"]
    found = score_skills(asked, judged(mini, Bank(), asked))
    counts = Counter(sample.task for sample in asked)
    shares = {skill: table[skill]["accuracy"] / 100 for skill in counts}
    expected = sum(counts[skill] * shares[skill] for skill in counts)
    variance = sum(counts[skill] * shares[skill] * (1 - shares[skill]) for skill in counts)
    right = sum(counts[skill] * found.skills[skill] / 100 for skill in counts)
    # questions about one picture are not independent: a little wider than the binomial
    assert abs(right - expected) < 3 * 1.5 * variance**0.5
    assert 80 < found.short < 100 and 80 < found.sentences < 100


def test_pictures_are_held_out_and_drawn_again_alike(asked: tuple[Sample, ...]) -> None:
    for sample in Random(0).sample(asked, 10):
        picture = sample.picture()
        assert split_of(picture) == "test"
        assert picture.tobytes() == sample.picture().tobytes()
    assert len({sample.picture for sample in asked}) == 60 < len(asked)
    assert len({sample.identifier for sample in asked}) == len(asked)


def test_a_picture_is_computed_once_for_all_its_questions(
    mini: BaseModel, asked: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []
    compute = VisionFeatures._compute

    def spy(self: VisionFeatures, samples: list[Sample]) -> list[torch.Tensor]:
        computed.extend(sample.identifier for sample in samples)
        return compute(self, samples)

    monkeypatch.setattr(VisionFeatures, "_compute", spy)
    judged(mini, Bank(), asked[:40])
    assert len(computed) == len({sample.picture for sample in asked[:40]})


def test_the_judgement_depends_on_the_bank_and_not_on_the_batch(
    mini: BaseModel, asked: tuple[Sample, ...]
) -> None:
    few = asked[:40]
    expected = judged(mini, Bank(), few)
    assert judged(mini, Bank(), few, 7) == expected
    bank = random_bank(parameter_handles(mini.adapted, projector=False), 1)
    assert sum(judged(mini, bank, few)) < sum(expected) / 2
    assert judged(mini, Bank(), few) == expected


def test_the_forms_are_counted_apart(asked: tuple[Sample, ...]) -> None:
    sentences = [sample.answer.startswith("it ") for sample in asked]
    found = score_skills(asked, sentences)
    assert (found.short, found.sentences) == (0, 100)
    assert list(found.skills) == sorted({sample.task for sample in asked})


def test_projectors_of_their_own_and_the_bases_are_asked_too(
    mini: BaseModel, asked: tuple[Sample, ...]
) -> None:
    samples = asked[:60]
    handles = parameter_handles(wrap(mini, 4, 2.0), projector=True)
    adapters = random_bank(handles, 2).subspaces
    own = {
        name: value.detach().numpy().copy()
        for name, value in handles.items()
        if mini.architecture.projector in name
    }
    assert own
    shared = judged(mini, Bank(adapters, own), samples)
    each = Bank(tuple(replace(subspace, projector=own) for subspace in adapters))
    assert judged(mini, each, samples) == shared
    moved = {name: values + 1.0 for name, values in own.items()}
    with BankSession(mini, Bank(adapters, moved), open_world=True) as session:
        asleep = said_exactly(session, samples, VisionFeatures(mini), torch.zeros(len(samples), 2))
    assert asleep == judged(mini, Bank(), samples)
