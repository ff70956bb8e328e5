"""Leaving a shared model exactly as it was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def preserved(model: nn.Module, values: Iterable[nn.Parameter]) -> Iterator[None]:
    """Restore modes, trainability and the given values on exit, whatever happens inside.

    One model serves all clients and evaluations of a process, so whoever changes it for a while
    does so inside this context.

    Parameters
    ----------
    model : nn.Module
        Training or evaluation mode of each module and ``requires_grad`` of each parameter are
        restored, gradients are dropped.
    values : Iterable[nn.Parameter]
        Parameters whose numbers may change inside; they are copied back bit by bit.
    """
    modes = [(module, module.training) for module in model.modules()]
    trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    former = [(parameter, parameter.detach().clone()) for parameter in values]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in former:
                parameter.copy_(value)
        for parameter, flag in trainable:
            parameter.requires_grad_(flag)
            parameter.grad = None
        for module, mode in modes:
            module.training = mode
