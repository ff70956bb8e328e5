"""Training one adapter in one place, on any samples: what the references have in common."""

from __future__ import annotations

from collections.abc import Sequence

from fcit_app.config import RunConfig
from fcit_app.data.partition import seed_of
from fcit_app.data.sample import Sample
from fcit_app.evaluate.evaluator import Evaluator
from fcit_app.model.adapters import initial_adapter, is_adapter, parameter_handles, read_parameters
from fcit_app.model.bank import Bank, Subspace
from fcit_app.train.loop import fit
from fcit_app.train.settings import local_training


def steps_per_stage(config: RunConfig) -> int:
    """Optimiser steps that the federation takes in a stage, over all participants and rounds."""
    return config.rounds * config.clients_per_round * config.train.steps


def steps_in_a_row(config: RunConfig) -> int:
    """Optimiser steps that an adapter goes through in a stage: clients side by side count once."""
    return config.rounds * config.train.steps


def tune(
    evaluator: Evaluator, config: RunConfig, samples: Sequence[Sample], steps: int, purpose: str
) -> Bank:
    """Train a fresh adapter (and the projector, unless it is frozen) on samples.

    Parameters
    ----------
    evaluator : Evaluator
        Its wrapped base is trained and left as it was.
    config : RunConfig
        Learning rates, batch size and seed.
    samples : Sequence[Sample]
        What to train on.
    steps : int
        Optimiser steps.
    purpose : str
        Part of the seed.
    """
    handles = parameter_handles(evaluator.model, config.projector != "frozen")
    seed = seed_of(config.seed, "reference", purpose)
    frozen = {name: handle for name, handle in handles.items() if not is_adapter(name)}
    start = initial_adapter(handles, seed) | read_parameters(frozen)
    settings = local_training(config, steps)
    result = fit(
        evaluator.base, handles, start, samples, evaluator.vision, seed % 2**63, settings,
        client=purpose,
    )  # fmt: skip
    adapter = {name: array for name, array in result.arrays.items() if is_adapter(name)}
    projector = {name: array for name, array in result.arrays.items() if not is_adapter(name)}
    return Bank((Subspace(0, adapter, None, 1),), projector or None)
