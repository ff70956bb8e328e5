"""Local fine-tuning: a pure function from (arrays, samples, seed, configuration) to arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice

import torch
from torch import Tensor
from torch.nn import Parameter, functional
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from fcit_app.arrays import Array
from fcit_app.data.sample import Sample
from fcit_app.errors import DataError, FcitError
from fcit_app.model.adapters import ADAPTER, is_adapter, load_parameters_, read_parameters
from fcit_app.model.base import BaseModel, Vision
from fcit_app.model.precision import products
from fcit_app.model.preserve import preserved
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.collate import IGNORED, Batch, Collator
from fcit_app.train.objective import PLAIN, Objective
from fcit_app.train.result import FitResult
from fcit_app.train.steps import parts_of, plan_steps


class TrainingError(FcitError):
    """Local fine-tuning that diverged."""


@dataclass(frozen=True)
class TrainConfig:
    """How a client fine-tunes in one round.

    Parameters
    ----------
    steps : int
        Optimiser steps.
    batch_size : int
        Samples that go through the model together.
    learning_rate, projector_learning_rate : float
        Peak rates of the adapter and of the projector.
    warmup : float
        Part of the steps over which the rates rise, in [0, 1).
    weight_decay : float
        AdamW's decay; 0 in LLaVA's and DISCO's recipes.
    max_gradient_norm : float or None
        Gradients are scaled down to this Euclidean norm; None leaves them as they are.
    proximal_mu : float
        Weight of the proximal term ``mu / 2 * ||w - w_global||^2`` that is added to the loss, with
        ``w_global`` the arrays that training starts from (FedProx, Li et al. 2020, eq. 2).
    epochs : int
        Passes over the samples, which replace ``steps``; 0 for none.
    accumulation : int
        Batches per step. A smaller shard than all of them is used whole in each step.
    group_by_length : bool
        Whether alike rows of a step stand in the same batch, which saves padding.
    gradient_checkpointing : bool
        Whether activations are computed again in the backward pass instead of kept.
    """

    steps: int
    batch_size: int
    learning_rate: float
    projector_learning_rate: float
    warmup: float = 0.03
    weight_decay: float = 0.0
    max_gradient_norm: float | None = 1.0
    proximal_mu: float = 0.0
    epochs: int = 0
    accumulation: int = 1
    group_by_length: bool = False
    gradient_checkpointing: bool = False


def fit(
    base: BaseModel,
    handles: Mapping[str, Parameter],
    arrays: Mapping[str, Array],
    samples: Sequence[Sample],
    vision: VisionFeatures,
    seed: int,
    config: TrainConfig,
    on_step: Callable[[int, int, float], None] | None = None,
    client: str = "this client",
    objective: Objective = PLAIN,
) -> FitResult:
    """Fine-tune an adapter, and the projector if it is among the handles, on a client's samples.

    AdamW without state from earlier rounds, linear warm-up and cosine decay, loss on the answer's
    tokens and the end of sequence only (DISCO, official code; LLaVA-1.5). The result depends on
    ``arrays``, ``samples``, ``seed`` and ``config`` alone; the model is left exactly as it was.

    Parameters
    ----------
    base : BaseModel
        The wrapped base.
    handles : Mapping[str, Parameter]
        From ``parameter_handles``: what is trained.
    arrays : Mapping[str, Array]
        Where training starts, one array per handle.
    samples : Sequence[Sample]
        The client's shard, not empty.
    vision : VisionFeatures
        Cache of the same base.
    seed : int
        Of the order of samples and of dropout.
    config : TrainConfig
        See there.
    on_step : Callable[[int, int, float], None], optional
        Called after each step with its number from 1, the number of steps and the loss.
    client : str
        Name of the client in an error's text.
    objective : Objective
        What a method adds to the loss.

    Raises
    ------
    ModelError
        If the arrays do not fit the handles; nothing has been changed then.
    DataError
        If there are no samples, or a question is too long.
    TrainingError
        If a loss or gradient is not finite; names step and client.
    RuntimeError
        If another adapter than the client's is active, so that training would have no effect.
    """
    if base.adapted is None or base.adapted.active_adapter != ADAPTER:
        raise RuntimeError("the client's adapter is not active: wrap the base, leave bank sessions")
    if not samples:
        raise DataError(f"{client} has no samples to train on. Lower the number of clients.")
    collator = Collator(base, samples)
    device = base.device
    losses: list[float] = []
    devices = [device.index or 0] if device.type == "cuda" else []
    with (
        preserved(base.adapted, handles.values()),
        torch.random.fork_rng(devices=devices),
        _checkpointing(base, config.gradient_checkpointing),
    ):
        load_parameters_(handles, arrays, f"starting point of {client}")
        torch.manual_seed(seed)
        base.adapted.requires_grad_(False)
        for parameter in handles.values():
            parameter.requires_grad_(True)
        base.model.train()
        optimizer = _optimizer(handles, config)
        size = config.batch_size * config.accumulation
        plan = plan_steps(len(samples), size, config.steps, config.epochs, seed)
        schedule = LambdaLR(optimizer, _rate(config.warmup, len(plan)))
        anchors = {n: p.detach().clone() for n, p in handles.items()} if config.proximal_mu else {}
        for step, places in enumerate(plan, start=1):
            taken: list[Tensor] = []
            parts = parts_of(collator, places, config.batch_size, config.group_by_length)
            for number, part in enumerate(parts, start=1):
                chosen = [samples[place] for place in part.places]
                features = vision.of(chosen)
                upcoming = chain((rest.places for rest in parts[number:]), islice(plan, step, None))
                vision.expect(samples[place] for following in upcoming for place in following)
                objective.see(chosen)
                loss = answer_loss(base, part.batch, features) * part.of_tokens
                taken.append(loss.detach())
                if anchors:
                    distance = _squared_distance(handles, anchors)
                    loss = loss + config.proximal_mu / 2 * distance * part.of_samples
                penalty = objective.penalty()
                if penalty is not None:
                    loss = loss + penalty * part.of_samples
                loss.backward()  # type: ignore[no-untyped-call]
            norm = math.inf if config.max_gradient_norm is None else config.max_gradient_norm
            length = torch.nn.utils.clip_grad_norm_(handles.values(), norm)
            # only now, once a step: whoever reads a number waits for all that the GPU has to do
            losses.append(0.0)
            for loss in taken:
                losses[-1] += loss.item()
            if not math.isfinite(losses[-1] + length.item()):
                raise TrainingError(
                    f"Training of {client} diverged in step {step} of {len(plan)}: its loss is "
                    f"{losses[-1]}, its gradient's norm {length.item()}. Lower train.lr (now "
                    f"{config.learning_rate}) or train.projector-lr "
                    f"(now {config.projector_learning_rate})."
                )
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if on_step is not None:
                on_step(step, len(plan), losses[-1])
        return FitResult(read_parameters(handles), tuple(losses))


def answer_loss(base: BaseModel, batch: Batch, vision: Vision) -> Tensor:
    """Mean cross-entropy over the answers' tokens of a batch (FCIT, auto-regressive objective).

    Parameters
    ----------
    base : BaseModel
        The model with whatever adapter is active.
    batch : Batch
        Right-padded rows, on the CPU: places of answers found there cost a GPU no wait.
    vision : Tensor or sequence of Tensor
        Features of the rows' pictures, from ``VisionFeatures.of``.

    Returns
    -------
    Tensor
        Scalar.
    """
    device = base.device
    targets = batch.labels[:, 1:]
    rows, columns = (targets != IGNORED).nonzero(as_tuple=True)
    with products(base.model):
        inputs = base.inputs(batch.input_ids.to(device), vision)
        states = base.decoder(**inputs, use_cache=False)
        # logits only where there is a loss: an answer is a few of the many tokens
        answers = states.last_hidden_state[rows.to(device), columns.to(device)]
        logits = base.model.lm_head(answers)
    return functional.cross_entropy(logits.float(), targets[rows, columns].to(device))


@contextmanager
def _checkpointing(base: BaseModel, wanted: bool) -> Iterator[None]:
    """Let the language model compute activations again in the backward pass, if wanted."""
    if not wanted:
        yield
        return
    # not reentrant: the first layer's input needs no gradient of its own then
    base.model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        base.model.gradient_checkpointing_disable()


def _squared_distance(handles: Mapping[str, Parameter], anchors: Mapping[str, Tensor]) -> Tensor:
    """Squared Euclidean distance of all trained parameters, adapter and projector, to anchors."""
    return torch.stack([(handles[name] - anchors[name]).square().sum() for name in anchors]).sum()


def _optimizer(handles: Mapping[str, Parameter], config: TrainConfig) -> AdamW:
    adapter = [handle for name, handle in handles.items() if is_adapter(name)]
    projector = [handle for name, handle in handles.items() if not is_adapter(name)]
    groups = [{"params": adapter, "lr": config.learning_rate}]
    if projector:
        groups.append({"params": projector, "lr": config.projector_learning_rate})
    return AdamW(groups, weight_decay=config.weight_decay)


def _rate(warmup: float, steps: int) -> Callable[[int], float]:
    """Factor on the learning rates at a step counted from 0.

    Never 0: with the few steps of a federated round, a step of the usual warm-up at rate 0 would be
    a noticeable part of them lost.
    """
    rising = round(warmup * steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        passed = (step - rising) / max(1, steps - rising)
        return 0.5 * (1.0 + math.cos(math.pi * passed))

    return factor
