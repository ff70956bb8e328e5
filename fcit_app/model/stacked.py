"""Subspace selective activation without a loop: one stacked adapter with a gate per sample.

N adapters of rank r become one of rank N*r: ``y = W x + s * B (g * (A x))`` with A the adapters' A
below each other, B their B next to each other, and g a sample's N weights, each repeated r times.
That is ``W x + sum_i w_i * s * B_i A_i x`` in two products, whatever N.
(DISCO, subspace selective activation; the official code builds these matrices anew at each token.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn import Parameter

from fcit_app.arrays import Arrays
from fcit_app.errors import ModelError
from fcit_app.model.adapters import (
    ADAPTER,
    checked,
    inside_projector,
    is_adapter,
    is_lora,
    load_parameters_,
    parameter_handles,
)
from fcit_app.model.bank import Bank
from fcit_app.model.base import BaseModel
from fcit_app.model.mixed_projector import (
    MixedProjector,
    mixed_projector,
    open_world_weights,
    projector_weights,
)
from fcit_app.model.precision import products
from fcit_app.model.preserve import preserved
from fcit_app.model.prompt_pool import PromptPool, pool_of
from fcit_app.model.routes import route_owners, route_tokens

# not the name of any module: PEFT finds an adapter's parameters by its name between dots
STACK = "bank_stack"


class Gate:
    """The per-sample weights that all stacked layers of one model share.

    Parameters
    ----------
    rank : int
        Rank of one subspace.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._rows: Tensor | None = None

    def set(self, weights: Tensor | None, dtype: torch.dtype = torch.float32) -> None:
        """Set weights of shape (batch, subspaces), or clear them with None."""
        if weights is None:
            self._rows = None
        else:
            self._rows = weights.to(dtype).repeat_interleave(self._rank, dim=1).unsqueeze(1)

    def __call__(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        """Forward hook of a stacked A: scale each sample's N*r activations."""
        if self._rows is None:
            raise RuntimeError("the stacked adapter is active, but no weights are set")
        # never broadcast silently: a row of the batch must be one sample, with its own weights
        if output.dim() != 3 or output.shape[::2] != self._rows.shape[::2]:
            raise RuntimeError(
                f"weights for {tuple(self._rows.shape)} do not fit {tuple(output.shape)}"
            )
        return output * self._rows


class BankSession:
    """The base with a bank installed, ready to answer; a context that leaves no trace.

    Inside, all subspaces are one stacked adapter and the bank's projector is in place, or a mixture
    of the subspaces' own (`fcit_app.model.mixed_projector`). An adapter with more than LoRA
    matrices (gates, soft prompts) comes alone and is loaded as it is. On exit the model is exactly
    as before: the client's adapter active, its values, the base's projector,
    modes and trainability.

    Parameters
    ----------
    base : BaseModel
        The base; wrapped (``adapters.wrap``), unless the bank holds nothing but itself.
    bank : Bank
        Empty for the plain base's answers.
    open_world : bool
        Whether samples without any weight are the base's own, with the projector that it came
        with; otherwise they get the trained projector.

    Raises
    ------
    ModelError
        On entering, if the bank does not fit the model, or only some of its subspaces have tokens
        or only some have projectors.

    Attributes
    ----------
    pool : PromptPool or None
        The bank's soft prompts, inside: a question's weights are then its query, its text feature.
    """

    def __init__(self, base: BaseModel, bank: Bank, open_world: bool = False) -> None:
        self.base = base
        self.bank = bank
        self.open_world = open_world
        self.pool: PromptPool | None = None
        self._gate: Gate | None = None
        self._mixture: MixedProjector | None = None
        self._exit: ExitStack | None = None

    @property
    def tokens(self) -> Tensor | None:
        """What questions are compared with, see ``route_tokens``."""
        return route_tokens(self.bank)

    @property
    def owners(self) -> Tensor | None:
        """Position of the subspace of each of ``tokens``, see ``route_owners``."""
        return route_owners(self.bank)

    def __enter__(self) -> Self:
        """Install the bank."""
        for what, held in (
            ("an identity token", [s.token is not None for s in self.bank.subspaces]),
            ("a projector of their own", [s.projector is not None for s in self.bank.subspaces]),
        ):
            if any(held) and not all(held):
                raise ModelError(
                    f"Only {sum(held)} of the bank's {len(held)} subspaces have {what}. Either all "
                    "have one, or none."
                )
        with ExitStack() as stack:
            self._install(stack)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bank off again."""
        self._gate = self.pool = None
        self._mixture = None
        if self._exit is not None:
            self._exit.__exit__(kind, error, trace)
            self._exit = None

    @contextmanager
    def weighted(self, weights: Tensor) -> Iterator[None]:
        """Let sample i of the next batches activate the subspaces with ``weights[i]``.

        Parameters
        ----------
        weights : Tensor
            Any real numbers, shape (batch, subspaces); ignored when the bank is empty. With a pool
            of soft prompts the samples' queries, shape (batch, width).

        Raises
        ------
        RuntimeError
            If the session is not entered: the answers would be the plain base's.
        """
        if self._exit is None:
            raise RuntimeError("the bank's session is not entered: use it in a with statement")
        if self.pool is not None:
            self.pool.ask(weights)
        else:
            self._weigh(weights.to(self.base.device))
        try:
            with products(self.base.model):
                yield
        finally:
            if self.pool is not None:
                self.pool.ask(None)
            else:
                self._weigh(None)

    def _weigh(self, weights: Tensor | None) -> None:
        """Set, or clear, the weights of all that is weighed."""
        for weighed in (self._gate, self._mixture):
            if weighed is not None:
                weighed.set(weights)

    def _install(self, stack: ExitStack) -> None:
        model = self.base.adapted
        if model is None:
            if self.bank.subspaces or self.bank.projector is not None:
                raise ModelError("The base has no adapter layers yet: call adapters.wrap first.")
            stack.enter_context(preserved(self.base.model, ()))
            self.base.model.eval()
            return
        if STACK in model.peft_config:
            raise RuntimeError("a bank is already installed on this base")
        handles = parameter_handles(model, projector=True)
        lora = {name: handles[name] for name in handles if is_adapter(name)}
        projector = {name: handles[name] for name in handles if not is_adapter(name)}
        adapters = [
            checked(lora, subspace.adapter, f"adapter of subspace {subspace.identifier}")
            for subspace in self.bank.subspaces
        ]
        stack.enter_context(preserved(model, projector.values()))
        untrained = _copied(projector) if self.open_world else {}
        if self.bank.projector is not None:
            load_parameters_(projector, self.bank.projector, "projector of the bank")
        if adapters and not all(map(is_lora, lora)):
            self._install_alone(stack, lora, adapters)
        elif adapters:
            stack.enter_context(_stacked(model, adapters))
            stacked: Any = model.peft_config[STACK]
            self._gate = Gate(stacked.r // len(adapters))
            for layer in _stacked_layers(model).values():
                layer.lora_A[STACK].register_forward_hook(self._gate)
            self._mixture = self._mix_projectors(stack, projector, untrained)
        else:
            stack.enter_context(model.disable_adapter())
        model.train(False)

    def _mix_projectors(
        self, stack: ExitStack, handles: Mapping[str, Parameter], untrained: Arrays
    ) -> MixedProjector | None:
        """Put the subspaces' own projectors in place, and the base's where it is to answer."""
        own = [
            checked(handles, subspace.projector, f"projector of subspace {subspace.identifier}")
            for subspace in self.bank.subspaces
            if subspace.projector is not None
        ]
        shared = self.bank.projector
        mixture: Callable[[Tensor], Tensor] = projector_weights
        if self.open_world and (own or shared):
            mixture = partial(open_world_weights, shared=not own)
            own = [*(own or [checked(handles, shared or {}, "projector of the bank")]), untrained]
        if not own:
            return None
        path = self.base.architecture.projector
        inside = [{inside_projector(name, path): a for name, a in arrays.items()} for arrays in own]
        return stack.enter_context(mixed_projector(self.base.model, path, inside, mixture))

    def _install_alone(
        self, stack: ExitStack, handles: Mapping[str, Parameter], adapters: Sequence[Arrays]
    ) -> None:
        """Load the bank's only adapter into the live parameters."""
        if len(adapters) > 1:
            raise ModelError(
                f"The bank has {len(adapters)} adapters with gates or soft prompts; only adapters "
                "of LoRA matrices alone can be stacked."
            )
        assert self.base.adapted is not None
        stack.enter_context(preserved(self.base.adapted, handles.values()))
        load_parameters_(handles, adapters[0], "adapter of the bank")
        self.pool = pool_of(self.base.adapted)
        if self.pool is not None:
            stack.enter_context(self.base.prefixed(self.pool))


def _copied(handles: Mapping[str, Parameter]) -> Arrays:
    return {name: p.detach().float().cpu().numpy().copy() for name, p in handles.items()}


@contextmanager
def frozen_beside(model: PeftModel, adapters: Sequence[Arrays]) -> Iterator[None]:
    """Earlier adapters, frozen at full weight, beside the one that is trained (O-LoRA).

    Parameters
    ----------
    model : PeftModel
        The wrapped model; the client's adapter stays the active one.
    adapters : Sequence[Arrays]
        By wire name, perhaps none.

    Raises
    ------
    ModelError
        If one of them does not fit the model.
    """
    if not adapters:
        yield
        return
    handles = parameter_handles(model, projector=False)
    fitting = [checked(handles, arrays, "earlier adapter") for arrays in adapters]
    with preserved(model, ()), _stacked(model, fitting):
        tuner: Any = model.base_model
        tuner.set_adapter([ADAPTER, STACK])
        model.active_adapter = ADAPTER
        yield


@contextmanager
def _stacked(model: PeftModel, adapters: Sequence[Arrays]) -> Iterator[None]:
    """Add the stacked adapter to the model and make it the active one."""
    former = model.active_adapter
    config: Any = model.peft_config[former]
    stacked = dataclasses.replace(
        config,
        r=config.r * len(adapters),
        lora_alpha=config.lora_alpha * len(adapters),  # alpha / rank, the scaling, stays
        lora_dropout=0.0,
        init_lora_weights=False,
        inference_mode=True,
    )
    try:
        with torch.random.fork_rng(devices=[]):  # new layers draw from the global generator
            # in the base's numbers, which nothing has to be cast to then
            model.add_adapter(STACK, stacked, autocast_adapter_dtype=False)
        model.set_adapter(STACK, inference_mode=True)
        with torch.no_grad():
            for name, layer in _stacked_layers(model).items():
                below = [arrays[f"{name}.lora_A.weight"] for arrays in adapters]
                beside = [arrays[f"{name}.lora_B.weight"] for arrays in adapters]
                layer.lora_A[STACK].weight.copy_(torch.from_numpy(np.concatenate(below, axis=0)))
                layer.lora_B[STACK].weight.copy_(torch.from_numpy(np.concatenate(beside, axis=1)))
        yield
    finally:
        model.set_adapter(former)
        if STACK in model.peft_config:
            model.delete_adapter(STACK)


def _stacked_layers(model: PeftModel) -> dict[str, Any]:
    """Layers that hold the stacked adapter, by wire name of the layer."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer) and STACK in module.lora_A
    }
