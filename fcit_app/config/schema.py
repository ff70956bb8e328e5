"""The run configuration as frozen pydantic models; nothing else reads Flower's flat strings.

Every field's ``description`` says what is allowed: error messages quote it.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from fcit_app.data.catalogue import stages

Scalar = bool | int | float | str
"""What a value of Flower's run configuration may be."""

Method = Literal["disco", "finetune", "zero-shot", "blind", "centralized"]
METHODS: tuple[str, ...] = get_args(Method)
FEDERATED_METHODS: tuple[str, ...] = ("disco", "finetune")
"""Methods that need clients and rounds; the others run in one process."""

AGGREGATORS: tuple[str, ...] = (
    "fedavg",
    "fedavgm",
    "fedadam",
    "fedyogi",
    "fedadagrad",
    "fedprox",
    "fedmedian",
    "fedtrimmedavg",
    "krum",
    "multikrum",
    "bulyan",
)
"""Names of Flower's strategies; ``strategies.aggregators`` says what each one stands for."""

_CLASS_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_ENCODER = re.compile(r"hashed-ngrams|(sentence-transformers|clip):.+")


def _not_bool(value: object) -> object:
    """Refuse ``true`` for a number: Python would read it as 1."""
    if isinstance(value, bool):
        raise ValueError("a truth value is not a number")
    return value


def _known_encoder(value: str) -> str:
    if not _ENCODER.fullmatch(value):
        raise ValueError("unknown encoder")
    return value


def _known_aggregator(value: str) -> str:
    if value not in AGGREGATORS and not _CLASS_PATH.fullmatch(value):
        raise ValueError("unknown aggregator")
    return value


Int = Annotated[int, BeforeValidator(_not_bool)]
Float = Annotated[float, BeforeValidator(_not_bool), Field(allow_inf_nan=False)]
EncoderSpec = Annotated[str, AfterValidator(_known_encoder)]
AggregatorSpec = Annotated[str, AfterValidator(_known_aggregator)]


class Group(BaseModel):
    """A frozen group of settings whose keys are the kebab-case field names."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )


class IdentityConfig(Group):
    """Identity tokens and their matching (DISCO, dynamic knowledge organisation)."""

    encoder: EncoderSpec = Field(
        description="hashed-ngrams, sentence-transformers:<folder or name> or clip:<folder or name>"
    )
    tau: Float = Field(gt=0, le=1, description="a number above 0 and at most 1")
    temperature: Float = Field(gt=0, description="a number above 0")


class TrainConfig(Group):
    """Local fine-tuning of one client in one round; ``steps`` counts optimiser steps."""

    rank: Int = Field(ge=1, description="a whole number, at least 1")
    scaling: Float = Field(gt=0, description="a number above 0")
    dropout: Float = Field(ge=0, lt=1, description="a number from 0 to below 1")
    lr: Float = Field(gt=0, description="a number above 0")
    projector_lr: Float = Field(gt=0, description="a number above 0")
    batch_size: Int = Field(ge=1, description="a whole number, at least 1")
    steps: Int = Field(ge=1, description="a whole number, at least 1")
    warmup: Float = Field(ge=0, lt=1, description="a share of the steps, from 0 to below 1")


class ModelConfig(Group):
    """The frozen base model."""

    name: str = Field(min_length=1, description="mini, or a folder in Hugging Face layout")


class DataConfig(Group):
    """Where samples come from, and how many a task has over all clients together (at most)."""

    root: str = Field(description="a folder with FCIT's data, or nothing (the mini benchmark)")
    partition: Literal["seeded", "files"] = Field(description="one of seeded, files")
    on_bad_sample: Literal["refuse", "skip"] = Field(description="one of refuse, skip")
    train_samples: Int = Field(ge=1, description="a whole number, at least 1")
    test_samples: Int = Field(ge=1, description="a whole number, at least 1")
    min_samples: Int = Field(ge=1, description="a whole number, at least 1 (for each client)")


class EvaluateConfig(Group):
    """Evaluation by generation."""

    batch_size: Int = Field(ge=1, description="a whole number, at least 1")


class RunConfig(Group):
    """Everything that decides a run's result, and where it is written.

    ``tasks`` is the order of the stages; empty means the published order of the setting. Read
    ``stages`` for the resolved order. Seconds: ``client_timeout``.
    """

    preset: str = Field(description="the name of a preset")
    method: Method = Field(description="one of " + ", ".join(METHODS))
    aggregator: AggregatorSpec = Field(
        description="one of " + ", ".join((*AGGREGATORS, "package.module:ClassName"))
    )
    # Flat, since TOML has no table beside the value `aggregator`.
    aggregator_arguments: str = Field(
        alias="aggregator.arguments",
        description="text such as eta=0.01, tau=1e-3 (the aggregator's arguments), or nothing",
    )
    setting: Literal["task", "capability"] = Field(description="one of task, capability")
    scenario: Literal["hom"] = Field(description="hom")
    tasks: tuple[str, ...] = Field(description="names separated by commas, or nothing")
    beta: Float = Field(gt=0, description="a number above 0")
    seed: Int = Field(ge=0, lt=2**32, description="a whole number from 0 to 4294967295")
    clients_per_round: Int = Field(ge=1, description="a whole number, at least 1")
    rounds: Int = Field(ge=1, description="a whole number, at least 1 (for each stage)")
    out: str = Field(min_length=1, description="a folder for the run")
    activation: Literal["softmax", "argmax", "cosine", "concat"] = Field(
        description="one of softmax, argmax, cosine, concat"
    )
    projector: Literal["shared", "frozen"] = Field(description="one of shared, frozen")
    client_timeout: Float = Field(gt=0, description="seconds, a number above 0")
    identity: IdentityConfig
    train: TrainConfig
    model: ModelConfig
    data: DataConfig
    evaluate: EvaluateConfig

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages in the order of this run."""
        return self.tasks or stages(self.setting)

    @property
    def federated(self) -> bool:
        """Whether the method needs clients and rounds."""
        return self.method in FEDERATED_METHODS


def key_of(name: str, field: FieldInfo) -> str:
    """Key of a field: its name in kebab case, unless it says otherwise."""
    return field.alias or name.replace("_", "-")


def field_descriptions(model: type[BaseModel] = RunConfig, prefix: str = "") -> dict[str, str]:
    """Map every flat key to what is allowed, in the order of the schema."""
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        key = prefix + key_of(name, field)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= field_descriptions(field.annotation, f"{key}.")
        else:
            found[key] = field.description or ""
    return found


KEYS: tuple[str, ...] = tuple(field_descriptions())
"""Every flat key of the run configuration."""
