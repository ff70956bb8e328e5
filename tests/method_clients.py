"""A continual-learning method on the small LLaVA, as a client has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from tiny_llava import toy_samples
from torch.nn import Parameter

from fcit_app.arrays import Arrays
from fcit_app.config import RunConfig, parse
from fcit_app.evaluate.answer import answer, question_weights
from fcit_app.identity.encoders import HashedNgramEncoder
from fcit_app.methods import load_method
from fcit_app.methods.state import State
from fcit_app.model.adapters import is_adapter, parameter_handles, read_parameters
from fcit_app.model.bank import Bank
from fcit_app.model.base import BaseModel
from fcit_app.model.features import QuestionFeatures
from fcit_app.model.stacked import BankSession
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.collate import Collator
from fcit_app.train.loop import FitResult, TrainConfig, answer_loss, fit

CONFIG = TrainConfig(steps=3, batch_size=4, learning_rate=1e-2, projector_learning_rate=1e-3)
SAMPLES = toy_samples(8)


def config_of(method: str, **changes: Any) -> RunConfig:
    named = {key.replace("__", ".").replace("_", "-"): value for key, value in changes.items()}
    return parse({"method": method, "train.rank": 2, **named})


class Client:
    """A method on the small LLaVA, as a client has it."""

    def __init__(self, base: BaseModel, config: RunConfig) -> None:
        self.base = base
        self.method = load_method(config)
        model = self.method.wrap(base)
        self.handles: dict[str, Parameter] = parameter_handles(model, projector=True)
        projector = {n: h for n, h in self.handles.items() if not is_adapter(n)}
        self.projector = read_parameters(projector)

    def initial(self, seed: int = 0) -> Arrays:
        return self.method.initial(self.handles, seed)

    def train(self, adapter: Arrays, memory: Mapping[str, Arrays] | None = None) -> FitResult:
        with self.method.local(self.base, self.handles, memory or {}) as objective:
            vision = VisionFeatures(self.base)
            start = adapter | self.projector
            return fit(
                self.base, self.handles, start, SAMPLES, vision, 7, CONFIG, objective=objective
            )

    def trained(self, seed: int = 0) -> Arrays:
        arrays = self.train(self.initial(seed)).arrays
        return {name: array for name, array in arrays.items() if is_adapter(name)}


def loss_of(base: BaseModel, vision: VisionFeatures) -> torch.Tensor:
    batch = Collator(base, SAMPLES).batch(range(len(SAMPLES)))
    return answer_loss(base, batch, vision.of(SAMPLES))


def said(base: BaseModel, bank: Bank, size: int = 100) -> list[str]:
    with BankSession(base, bank) as session:
        vision = VisionFeatures(base)
        weights = question_weights(session, SAMPLES, QuestionFeatures(HashedNgramEncoder()))
        return answer(session, SAMPLES, vision, weights, size)


def memory_of(client: Client) -> dict[str, Arrays]:
    """What the method remembers at the second stage."""
    if client.method.wants_importance:
        held = {n: np.ones(tuple(h.shape), np.float32) for n, h in client.handles.items()}
        return {"importance": held, "anchor": client.initial(3) | client.projector}
    state = State(1, client.trained(1), client.projector)
    return dict(client.method.open_stage(state, 2, lambda: client.initial(2)).memory)
