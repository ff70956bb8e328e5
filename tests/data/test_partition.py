"""Shards: a partition, seeded, lossless, as skewed as beta says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcit_app.config import parse
from fcit_app.data.load import load_benchmark
from fcit_app.data.partition import dirichlet_shards, seed_of
from fcit_app.data.stages import client_samples, make_stages, tasks_seen
from fcit_app.errors import DataError


@given(
    samples=st.integers(40, 400),
    clients=st.integers(1, 8),
    beta=st.sampled_from([0.5, 1.0, 5.0]),
    seed=st.integers(0, 2**64 - 1),
    minimum=st.integers(0, 2),
)
@settings(max_examples=60, deadline=None)
def test_every_sample_goes_to_exactly_one_client(
    samples: int, clients: int, beta: float, seed: int, minimum: int
) -> None:
    shards = dirichlet_shards(samples, clients, beta, seed, minimum)
    assert len(shards) == clients
    assert np.array_equal(np.sort(np.concatenate(shards)), np.arange(samples))
    assert min(map(len, shards)) >= minimum
    again = dirichlet_shards(samples, clients, beta, seed, minimum)
    assert all(np.array_equal(a, b) for a, b in zip(shards, again, strict=True))


def test_small_beta_skews_more() -> None:
    def spread(beta: float) -> float:
        sizes = [[len(s) for s in dirichlet_shards(1000, 10, beta, k, 1)] for k in range(30)]
        return float(np.mean(np.std(sizes, axis=1)))

    assert spread(0.5) > spread(1.0) > spread(5.0)


def test_too_few_samples_say_what_to_change() -> None:
    with pytest.raises(DataError, match=r"data\.train-samples to 50"):
        dirichlet_shards(30, 5, 1.0, 0, 10)


def test_a_hopeless_beta_ends_with_advice() -> None:
    with pytest.raises(DataError, match="Raise beta"):
        dirichlet_shards(100, 10, 0.001, 0, 9)


def test_seed_of_is_stable() -> None:
    assert seed_of(0, "partition", "arxivqa") == seed_of(0, "partition", "arxivqa")
    assert seed_of(0, "a") != seed_of(1, "a") != seed_of(1, "b")
    assert seed_of("pinned") == 4587861904022735369


def test_clients_share_a_stage_and_capability_stages_pool_tasks() -> None:
    config = parse({"preset": "mini-smoke", "setting": "capability", "tasks": "math,chart"})
    benchmark, stages = load_benchmark(config), make_stages(config)
    assert stages[0].tasks == ("clevr-math", "super-clevr", "tabmwp")
    held = [client_samples(benchmark, config, stages[0], client, 3) for client in range(3)]
    names = [sample.identifier for samples in held for sample in samples]
    assert len(names) == len(set(names)) == 3 * config.data.train_samples
    assert {sample.task for sample in held[0]} == set(stages[0].tasks)
    assert tasks_seen(stages, 1) == stages[0].tasks
    assert tasks_seen(stages, 2) == stages[0].tasks + stages[1].tasks
