"""O-LoRA: a fresh adapter a stage, orthogonal to the earlier ones, which stay in the forward pass.

Wang et al. 2023 (EMNLP Findings), section 3: the model of stage t is the base plus all adapters so
far, of which only the last is trained, with a penalty on the overlap of the subspaces that the rows
of A span. The penalty is that of the authors' code, the sum of absolute values (eq. 8 has squares).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import Parameter

from fcit_app.arrays import Arrays
from fcit_app.methods.base import Method
from fcit_app.methods.state import State
from fcit_app.model.bank import Bank, Subspace
from fcit_app.model.base import BaseModel
from fcit_app.model.stacked import frozen_beside
from fcit_app.train.objective import PLAIN, Objective

_A = ".lora_A.weight"


class Orthogonal(Objective):
    """The penalty ``strength * sum over layers and earlier adapters of |A_earlier A^T|_1``.

    Parameters
    ----------
    handles : Mapping[str, Parameter]
        The adapter in training.
    earlier : Mapping[str, Arrays]
        The earlier ones, any key.
    strength : float
        Called lambda_1 in the paper.
    """

    def __init__(
        self, handles: Mapping[str, Parameter], earlier: Mapping[str, Arrays], strength: float
    ) -> None:
        self._strength = strength
        # all earlier rows of a layer below each other: one product a layer
        self._pairs = [
            (
                handle,
                torch.cat([torch.from_numpy(one[name]) for one in earlier.values()]).to(handle),
            )
            for name, handle in handles.items()
            if name.endswith(_A)
        ]

    def penalty(self) -> Tensor:
        """Scalar."""
        overlaps = [(rows @ handle.T).abs().sum() for handle, rows in self._pairs]
        return self._strength * torch.stack(overlaps).sum()


class OLora(Method):
    """One adapter a stage; the memory has the earlier ones as ``stage-001``, ``stage-002`` etc."""

    def open_stage(self, state: State, stage: int, draw: Callable[[], Arrays]) -> State:
        """Remember the former stage's adapter and begin with a fresh one."""
        if state.stage == 0:
            return replace(state, stage=stage)
        memory = {**state.memory, f"stage-{state.stage:03d}": state.adapter}
        return replace(state, stage=stage, adapter=draw(), memory=memory)

    @contextmanager
    def local(
        self, base: BaseModel, handles: Mapping[str, Parameter], memory: Mapping[str, Arrays]
    ) -> Iterator[Objective]:
        """Let the earlier adapters take part, frozen, and add the penalty."""
        if not memory:
            yield PLAIN
            return
        assert base.adapted is not None
        with frozen_beside(base.adapted, list(memory.values())):
            yield Orthogonal(handles, memory, self.config.o_lora.strength)

    def bank(self, state: State) -> Bank:
        """All adapters without tokens, which inference sums at full weight."""
        stages = {int(name.removeprefix("stage-")): one for name, one in state.memory.items()}
        stages[max(state.stage, 1)] = state.adapter
        subspaces = (Subspace(stage - 1, one, None, stage) for stage, one in sorted(stages.items()))
        return Bank(tuple(subspaces), state.projector)
