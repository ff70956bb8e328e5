"""L2P is its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from method_clients import SAMPLES

from fcit_app.arrays import Arrays
from fcit_app.identity.encoders import HashedNgramEncoder
from fcit_app.methods.l2p import PullKeys
from fcit_app.model.adapters import is_adapter
from fcit_app.model.prompt_pool import PromptPool
from fcit_app.train.collate import Collator


def test_l2p_takes_the_prompts_of_the_nearest_keys():
    pool = PromptPool(size=4, length=2, top=2, hidden=3, width=2)
    pool.keys.data = torch.tensor([[1.0, 0.0], [0.0, 5.0], [-1.0, 0.1], [0.1, 0.1]])
    pool.prompts.data = torch.arange(24.0).reshape(4, 2, 3)
    pool.ask(torch.tensor([[0.0, 2.0], [2.0, 2.1], [-1.0, 0.0]]))
    places, cosines = pool.chosen()
    assert places.tolist() == [[1, 3], [1, 3], [1, 2]]  # by number, not by nearness
    assert cosines[0].tolist() == pytest.approx([1.0, np.sqrt(0.5)])
    vectors = pool.vectors()
    assert vectors.shape == (3, pool.length, 3)
    assert torch.equal(vectors[0], pool.prompts[[1, 3]].reshape(4, 3))
    pool.ask(None)
    with pytest.raises(RuntimeError, match="no queries"):
        pool.vectors()


def test_l2p_pulls_the_chosen_keys_and_no_others():
    encoder = HashedNgramEncoder()
    pool = PromptPool(size=3, length=1, top=1, hidden=2, width=encoder.dimension)
    (query,) = torch.from_numpy(encoder.encode([SAMPLES[0].question]))
    generator = torch.Generator().manual_seed(0)
    pool.keys.data = torch.randn(pool.keys.shape, generator=generator)
    pool.keys.data[1] = query + 0.1
    pull = PullKeys(pool, encoder, strength=2.0)
    pull.see(SAMPLES[:1])
    penalty = pull.penalty()
    cosine = torch.nn.functional.cosine_similarity(query, pool.keys[1], dim=0)
    assert penalty.item() == pytest.approx(2 * (1 - cosine.item()), rel=1e-5)
    penalty.backward()
    assert pool.keys.grad is not None
    assert pool.keys.grad[1].any() and not pool.keys.grad[[0, 2]].any()


def test_l2p_counts_its_prompts_among_a_questions_tokens(client):
    mine = client("l2p", l2p__length=3, l2p__top=2)
    bare = Collator(mine.base, SAMPLES).batch([0]).input_ids
    memory: dict[str, Arrays] = {}
    with mine.method.local(mine.base, mine.handles, memory):
        row = Collator(mine.base, SAMPLES).batch([0]).input_ids
    assert row[0, :6].tolist() == [-1] * 6
    assert torch.equal(row[:, 6:], bare)


def test_only_pool_and_projector_travel_for_l2p(client):
    names = client("l2p").handles
    assert {n for n in names if is_adapter(n)} == {"prompt_pool.keys", "prompt_pool.prompts"}
