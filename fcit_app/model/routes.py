"""What questions are compared with: the identity tokens of a bank, or their prototypes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fcit_app.model.bank import Bank


def route_tokens(bank: Bank) -> Tensor | None:
    """Identity token of each subspace, or its prototypes where it has some.

    Returns
    -------
    Tensor or None
        Float32, shape (tokens, width); None if there are no tokens.
    """
    routes = [s.token.routes if s.token else () for s in bank.subspaces]
    means = [token.mean for tokens in routes for token in tokens]
    if not means:
        return None
    return torch.from_numpy(np.stack(means).astype(np.float32))


def route_owners(bank: Bank) -> Tensor | None:
    """Position of the subspace of each of ``route_tokens``; None if that is simply their order."""
    counts = [len(s.token.routes) if s.token else 0 for s in bank.subspaces]
    if max(counts, default=0) < 2:
        return None
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
