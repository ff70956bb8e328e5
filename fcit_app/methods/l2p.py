"""L2P: prompts of a pool before the question, chosen by its text; no weights of the model change.

Wang et al. 2022 (CVPR), section 4: a frozen encoder's feature of the question is compared with the
keys of a pool of prompts, the prompts of the ``l2p.top`` nearest keys stand before the question's
tokens, and a term pulls these keys to the feature (eq. 5). The encoder is that of DISCO's identity
tokens (``identity.encoder``), so both choose by the same features. The chosen prompts stand in the
order of their numbers, not of nearness: with an order that changes from question to question, two
prompts learned iconqa to 68 per cent, in a fixed order to 100 (mini, 40 steps, validation).
Frequencies of use (the paper's optional penalty) are left out: clients do not share them. The
projector is trained as for all methods, if it is shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import Parameter

from fcit_app.arrays import Arrays
from fcit_app.data.sample import Sample
from fcit_app.identity.encoders import TextEncoder, load_encoder
from fcit_app.methods.base import Method
from fcit_app.model.adapters import is_adapter, wrap
from fcit_app.model.base import BaseModel
from fcit_app.model.prompt_pool import PromptPool, WithPromptPool, pool_of
from fcit_app.train.objective import Objective

_DEVIATION = 0.02
"""Standard deviation of fresh prompts and keys, that of a language model's fresh embeddings."""


class PullKeys(Objective):
    """The penalty ``strength * mean(1 - cos(question, chosen key))`` (eq. 5).

    Parameters
    ----------
    pool : PromptPool
        Asked with each batch's questions.
    encoder : TextEncoder
        Makes the queries.
    strength : float
        Called lambda in the paper.
    """

    def __init__(self, pool: PromptPool, encoder: TextEncoder, strength: float) -> None:
        self._pool = pool
        self._encoder = encoder
        self._strength = strength

    def see(self, samples: Sequence[Sample]) -> None:
        """Ask the pool with the samples' questions."""
        queries = self._encoder.encode([sample.question for sample in samples])
        self._pool.ask(torch.from_numpy(queries))

    def penalty(self) -> Tensor:
        """Scalar."""
        _, cosines = self._pool.chosen()
        return self._strength * (1 - cosines).mean()


class L2p(Method):
    """One pool of prompts for all stages."""

    def wrap(self, base: BaseModel) -> PeftModel:
        """Add the pool; the LoRA below it stays at 0 (see ``WithPromptPool``)."""
        size = self.config.l2p
        width = self._encoder.dimension
        pool = WithPromptPool(size.pool, size.length, size.top, width)
        return wrap(base, 1, self.config.train.scaling, extension=pool)

    def initial(self, handles: Mapping[str, Parameter], seed: int) -> Arrays:
        """Draw prompts and keys from a narrow normal distribution."""
        generator = np.random.default_rng(seed)
        return {
            name: (_DEVIATION * generator.standard_normal(tuple(handles[name].shape))).astype(
                np.float32
            )
            for name in sorted(filter(is_adapter, handles))
        }

    @property
    def learning_rate(self) -> float:
        """Prompts need larger steps than LoRA: a rate of their own."""
        return self.config.l2p.lr

    @contextmanager
    def local(
        self, base: BaseModel, handles: Mapping[str, Parameter], memory: Mapping[str, Arrays]
    ) -> Iterator[Objective]:
        """Put the chosen prompts before each question."""
        assert base.adapted is not None
        pool = pool_of(base.adapted)
        assert pool is not None
        with base.prefixed(pool):
            try:
                yield PullKeys(pool, self._encoder, self.config.l2p.strength)
            finally:
                pool.ask(None)

    @property
    def _encoder(self) -> TextEncoder:
        return load_encoder(self.config.identity.encoder)
