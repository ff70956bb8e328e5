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
    "client-draw": "seeded",
    "clients-per-round": 2,
    "rounds": 3,
    # Empty: runs/<preset>/<method>, below the working directory.
    "out": "",
    "resume": "",
    "resume-allow": False,
    "activation": "softmax",
    "projector": "shared",
    "client-timeout": 600.0,
    "identity.encoder": "hashed-ngrams",
    "identity.token": "text",
    "identity.prototypes": 0,
    "identity.tau": 0.9,
    "identity.temperature": 0.05,
    "identity.count": "stage",
    "train.rank": 8,
    "train.scaling": 2.0,
    "train.dropout": 0.0,
    "train.lr": 5e-3,
    "train.projector-lr": 2e-4,
    "train.batch-size": 12,
    "train.steps": 20,
    "train.warmup": 0.03,
    "ewc.strength": 1000.0,
    "ewc.decay": 1.0,
    "ewc.samples": 50,
    "o-lora.strength": 5e-3,
    "m-lora.parts": 4,
    "moelora.experts": 4,
    "l2p.pool": 4,
    "l2p.length": 5,
    "l2p.top": 1,
    "l2p.strength": 2.0,
    "l2p.lr": 2e-2,
    "model.name": "mini",
    # Empty: the mini benchmark.
    "data.root": "",
    "data.partition": "seeded",
    "data.on-bad-sample": "refuse",
    "data.train-samples": 400,
    "data.test-samples": 150,
    "data.min-samples": 8,
    "evaluate.batch-size": 100,
    "evaluate.transfer": False,
    "evaluate.unseen": "",
    "evaluate.general": False,
    "evaluate.general-after": "last",
    "evaluate.routing": "sample",
    "evaluate.scoring": "paper",
}

_MINI_SMOKE: dict[str, Scalar] = {
    **_MINI,
    "tasks": "imagenet-r,figureqa",
    "rounds": 1,
    "train.steps": 3,
    "data.train-samples": 64,
    "data.test-samples": 16,
}

_MINI_HET: dict[str, Scalar] = {
    **_MINI,
    "scenario": "het",
    # One participant a slot; 5 x 16 steps a round: the work of two of `mini`'s runs.
    "clients-per-round": 5,
    "train.steps": 16,
}

PRESETS: Mapping[str, Mapping[str, Scalar]] = MappingProxyType(
    {
        "mini": MappingProxyType(_MINI),
        "mini-smoke": MappingProxyType(_MINI_SMOKE),
        "mini-het": MappingProxyType(_MINI_HET),
    }
)
"""Preset name to the value of every other key."""

DEFAULT_PRESET = "mini"
