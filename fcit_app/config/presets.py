"""Presets as data: a preset gives every key a value; the run configuration overrides some."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fcit_app.config.schema import Scalar

_MINI: dict[str, Scalar] = {
    "method": "disco",
    "aggregator": "fedavg",
    "aggregator.arguments": "",
    "setting": "task",
    "scenario": "hom",
    "tasks": "",
    "beta": 1.0,
    "seed": 0,
    "clients-per-round": 2,
    "rounds": 3,
    # Empty: runs/<preset>/<method>, below the working directory.
    "out": "",
    "activation": "softmax",
    "projector": "shared",
    "client-timeout": 600.0,
    "identity.encoder": "hashed-ngrams",
    "identity.tau": 0.9,
    "identity.temperature": 0.05,
    "train.rank": 8,
    "train.scaling": 2.0,
    "train.dropout": 0.0,
    "train.lr": 5e-3,
    "train.projector-lr": 2e-4,
    "train.batch-size": 12,
    "train.steps": 20,
    "train.warmup": 0.03,
    "model.name": "mini",
    # Empty: the mini benchmark.
    "data.root": "",
    "data.partition": "seeded",
    "data.on-bad-sample": "refuse",
    "data.train-samples": 400,
    "data.test-samples": 150,
    "data.min-samples": 8,
    "evaluate.batch-size": 100,
}

_MINI_SMOKE: dict[str, Scalar] = {
    **_MINI,
    "tasks": "imagenet-r,figureqa",
    "rounds": 1,
    "train.steps": 3,
    "data.train-samples": 64,
    "data.test-samples": 16,
}

PRESETS: Mapping[str, Mapping[str, Scalar]] = MappingProxyType(
    {
        "mini": MappingProxyType(_MINI),
        "mini-smoke": MappingProxyType(_MINI_SMOKE),
    }
)
"""Preset name to the value of every other key."""

DEFAULT_PRESET = "mini"
