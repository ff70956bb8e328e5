"""A pool of soft prompts with keys, some of which stand before each question's tokens (L2P)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional

from fcit_app.model.adapters import POOL


class PromptPool(nn.Module):
    """Prompts, keys, and the choice for the batch at hand (Wang et al. 2022, eqs. 2 to 4).

    Parameters
    ----------
    size : int
        Number of prompts.
    length : int
        Soft tokens of a prompt.
    top : int
        Prompts taken for a question.
    hidden : int
        Width of the model's token embeddings.
    width : int
        Width of the queries, thus of the keys.
    """

    def __init__(self, size: int, length: int, top: int, hidden: int, width: int) -> None:
        super().__init__()
        self.prompts = nn.Parameter(torch.zeros(size, length, hidden))
        self.keys = nn.Parameter(torch.zeros(size, width))
        self.length = top * length
        self._top = top
        self._queries: Tensor | None = None

    def ask(self, queries: Tensor | None) -> None:
        """Set the queries of the next batches, shape (batch, width), or clear them with None."""
        self._queries = None if queries is None else queries.to(self.keys)

    def chosen(self) -> tuple[Tensor, Tensor]:
        """Prompts whose keys are nearest to each query by cosine.

        Returns
        -------
        places : Tensor
            Numbers of the prompts, ascending, shape (batch, top): a prompt keeps its place before
            others, however near the question is to each. Of equally near ones the first is taken.
        cosines : Tensor
            Their keys' cosines with the query, same shape; differentiable in the keys.

        Raises
        ------
        RuntimeError
            If no queries are set.
        """
        if self._queries is None:
            raise RuntimeError("the prompt pool is in use, but no queries are set")
        # in double precision, so that a row's choice does not depend on the size of its batch
        keys = functional.normalize(self.keys.double(), dim=-1)
        cosines = functional.normalize(self._queries.double(), dim=-1) @ keys.T
        places = cosines.detach().sort(dim=-1, descending=True, stable=True).indices
        places = places[:, : self._top].sort(dim=-1).values
        return places, cosines.gather(1, places)

    def vectors(self) -> Tensor:
        """Embeddings that stand before each row's tokens, shape (batch, top * length, hidden)."""
        places, _ = self.chosen()
        return self.prompts[places].flatten(1, 2)


@dataclass(frozen=True)
class WithPromptPool:
    """Extension of a wrapping (``adapters.wrap``): a prompt pool, trained instead of the LoRA.

    The LoRA matrices stay in place with B = 0, where they change no bit, and do not travel.

    Parameters
    ----------
    size, length, top, width : int
        See ``PromptPool``.
    """

    size: int
    length: int
    top: int
    width: int

    def install(self, model: PeftModel) -> None:
        """Give a freshly wrapped model its pool."""
        hidden = model.get_input_embeddings().weight.shape[1]
        pool = PromptPool(self.size, self.length, self.top, hidden, self.width)
        model.add_module(POOL, pool.to(model.device))


def pool_of(model: PeftModel) -> PromptPool | None:
    """Give the model's pool, if its wrapping has one."""
    pool = model._modules.get(POOL)
    return pool if isinstance(pool, PromptPool) else None
