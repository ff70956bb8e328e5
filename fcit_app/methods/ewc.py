"""Elastic weight consolidation: what earlier stages depend on is held near its value.

Kirkpatrick et al. 2017 (eq. 3) in the online form of Schwarz et al. 2018 (section 3.2): one running
Fisher information and one anchor, whatever the number of stages. FCIT gives no details of its EWC;
the federated form here: clients measure the diagonal empirical Fisher of the stage's final model on
their own data, the server averages it by shard size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from fcit_app.arrays import Arrays
from fcit_app.data.sample import Sample
from fcit_app.methods.base import Method
from fcit_app.methods.state import Importance, State
from fcit_app.model.adapters import checked, load_parameters_
from fcit_app.model.base import BaseModel
from fcit_app.model.preserve import preserved
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.collate import IGNORED, Collator
from fcit_app.train.loop import answer_loss
from fcit_app.train.objective import PLAIN, Objective

IMPORTANCE = "importance"
ANCHOR = "anchor"


class Elastic(Objective):
    """The penalty ``strength / 2 * sum_i F_i (w_i - anchor_i)^2`` (Kirkpatrick et al., eq. 3).

    Parameters
    ----------
    handles : Mapping[str, Parameter]
        The trained parameters w.
    importance, anchor : Arrays
        F and the anchor, one array per handle.
    strength : float
        Called lambda in the paper.
    """

    def __init__(
        self,
        handles: Mapping[str, Parameter],
        importance: Arrays,
        anchor: Arrays,
        strength: float,
    ) -> None:
        self._strength = strength
        self._terms = [
            (
                handle,
                torch.from_numpy(importance[name]).to(handle),
                torch.from_numpy(anchor[name]).to(handle),
            )
            for name, handle in handles.items()
        ]

    def penalty(self) -> Tensor:
        """Scalar."""
        parts = [(held * (value - anchor).square()).sum() for value, held, anchor in self._terms]
        return self._strength / 2 * torch.stack(parts).sum()


class Ewc(Method):
    """One adapter for all stages, held near its values by what earlier stages depend on.

    The memory is ``importance``, the decayed sum of the stages' Fisher diagonals, and ``anchor``,
    the model at the end of the last stage; both cover adapter and projector.
    """

    wants_importance = True

    @contextmanager
    def local(
        self, base: BaseModel, handles: Mapping[str, Parameter], memory: Mapping[str, Arrays]
    ) -> Iterator[Objective]:
        """Add the penalty, from the second stage on."""
        if not memory:
            yield PLAIN
            return
        held = checked(handles, memory[IMPORTANCE], "memory of importance")
        anchor = checked(handles, memory[ANCHOR], "memory of the last stage")
        yield Elastic(handles, held, anchor, self.config.ewc.strength)

    def importance(
        self,
        base: BaseModel,
        handles: Mapping[str, Parameter],
        arrays: Arrays,
        samples: Sequence[Sample],
        vision: VisionFeatures,
        seed: int,
    ) -> Importance:
        """Diagonal empirical Fisher: mean over samples of squared log-likelihood gradients.

        At most ``ewc.samples`` of the samples are used; ``seed`` draws them.
        """
        count = min(self.config.ewc.samples, len(samples))
        drawn = np.random.default_rng(seed).choice(len(samples), count, replace=False)
        chosen = [samples[place] for place in sorted(drawn)]
        return Importance(fisher_diagonal(base, handles, arrays, chosen, vision), len(samples))

    def close_stage(self, state: State, importances: Sequence[Importance]) -> State:
        """Add the clients' mean importance to the decayed sum, and anchor to the model of now."""
        former = state.memory.get(IMPORTANCE, {})
        total = sum(importance.samples for importance in importances)
        held = {}
        for name, value in state.trained.items():
            mean = sum(
                one.arrays[name].astype(np.float64) * (one.samples / total) for one in importances
            )
            kept = self.config.ewc.decay * former.get(name, np.zeros_like(value))
            held[name] = (mean + kept).astype(np.float32)
        return replace(state, memory={IMPORTANCE: held, ANCHOR: state.trained})


def fisher_diagonal(
    base: BaseModel,
    handles: Mapping[str, Parameter],
    arrays: Arrays,
    samples: Sequence[Sample],
    vision: VisionFeatures,
) -> Arrays:
    """Mean over samples of the squared gradient of the answer's log-likelihood, sample by sample.

    Parameters
    ----------
    base : BaseModel
        Left as it was.
    handles : Mapping[str, Parameter]
        With respect to which; wire name to live parameter.
    arrays : Arrays
        Their values.
    samples : Sequence[Sample]
        Not empty; the answer is the data set's, not one drawn from the model (empirical Fisher).
    vision : VisionFeatures
        Cache of the same base.

    Returns
    -------
    Arrays
        One float32 array per handle, of 0 or more.
    """
    assert base.adapted is not None
    collator = Collator(base, samples)
    parameters = list(handles.values())
    with preserved(base.adapted, parameters):
        load_parameters_(handles, arrays, "model whose importance is measured")
        base.adapted.requires_grad_(False).eval()
        for parameter in parameters:
            parameter.requires_grad_(True)
        sums = [torch.zeros_like(parameter) for parameter in parameters]
        for place, sample in enumerate(samples):
            batch = collator.batch([place])
            tokens = int((batch.labels[:, 1:] != IGNORED).sum())
            # the mean per token times their number: the whole answer's log-likelihood
            features = vision.of([sample])
            vision.expect(islice(samples, place + 1, None))
            loss = answer_loss(base, batch, features) * tokens
            # zeros of the projector where the sample has no picture
            gradients = torch.autograd.grad(
                loss, parameters, allow_unused=True, materialize_grads=True
            )
            for squares, gradient in zip(sums, gradients, strict=True):
                squares += gradient.square()
    return {
        name: (squares / len(samples)).cpu().numpy()
        for name, squares in zip(handles, sums, strict=True)
    }
