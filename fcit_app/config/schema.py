"""The run configuration as frozen pydantic models; nothing else reads Flower's flat strings.

Every field's ``description`` says what is allowed: error messages quote it.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from fcit_app.config.methods import FEDERATED, METHODS
from fcit_app.data.catalogue import stages
from fcit_app.data.scenario import BUILT_IN, FILE_SUFFIXES

Scalar = bool | int | float | str
"""What a value of Flower's run configuration may be."""

FEDERATED_METHODS: tuple[str, ...] = tuple(FEDERATED)
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


def _known_method(value: str) -> str:
    if value not in METHODS:
        raise ValueError("unknown method")
    return value


def _known_aggregator(value: str) -> str:
    if value not in AGGREGATORS and not _CLASS_PATH.fullmatch(value):
        raise ValueError("unknown aggregator")
    return value


def _known_scenario(value: str) -> str:
    if value not in BUILT_IN and not value.endswith(FILE_SUFFIXES):
        raise ValueError("unknown scenario")
    return value


def _truth_value(value: object) -> object:
    """Take ``true`` and ``false`` only: what else pydantic reads as one (1, "on") is a slip."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("not a truth value")


Bool = Annotated[bool, BeforeValidator(_truth_value)]
Int = Annotated[int, BeforeValidator(_not_bool)]
Float = Annotated[float, BeforeValidator(_not_bool), Field(allow_inf_nan=False)]
EncoderSpec = Annotated[str, AfterValidator(_known_encoder)]
MethodName = Annotated[str, AfterValidator(_known_method)]
AggregatorSpec = Annotated[str, AfterValidator(_known_aggregator)]
ScenarioSpec = Annotated[str, AfterValidator(_known_scenario)]


class Group(BaseModel):
    """A frozen group of settings whose keys are the kebab-case field names."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )


class PrivacyConfig(Group):
    """What a client's trained arrays tell of its data (``client_app.private_mod``).

    ``update_clip``: largest norm of all that it changed. ``update_noise``: added to it, as a
    multiple of what a client can change. ``delta``: at which the run states each epsilon, of tokens
    (``identity.noise``) too.
    """

    update_clip: Float = Field(ge=0, description="a number, 0 (not shortened) or more")
    update_noise: Float = Field(ge=0, description="a number, 0 (none) or more")
    delta: Float = Field(gt=0, lt=1, description="a number above 0 and below 1")


class IdentityConfig(Group):
    """Identity tokens and their matching (DISCO, dynamic knowledge organisation).

    What a token tells of single samples (``fcit_app.identity.privacy``): ``min_samples`` below
    which none is given, ``clip`` for the length of each sample's feature, ``noise`` as a multiple
    of what one sample can change; a smaller ``dimension`` makes it shorter beside the token.

    ``count``: whether a client's samples enter its subspace's token once a stage, or anew in each
    round it takes part in, as in the released code. ``open_world``: a question whose cosine with
    every token is smaller is answered by the base alone (`fcit open-world` calibrates it).
    """

    encoder: EncoderSpec = Field(
        description="hashed-ngrams, sentence-transformers:<folder or name> or clip:<folder or name>"
    )
    token: Literal["text", "image", "text+image"] = Field(
        description="one of text, image, text+image"
    )
    min_samples: Int = Field(ge=1, description="a whole number, at least 1 (for each client)")
    clip: Float = Field(ge=0, description="a number, 0 (not shortened) or more")
    noise: Float = Field(ge=0, description="a number, 0 (none) or more")
    dimension: Int = Field(
        ge=0, le=65536, description="a whole number from 0 (the encoder's own) to 65536"
    )
    prototypes: Int = Field(ge=0, le=64, description="a whole number from 0 (none) to 64")
    tau: Float = Field(gt=0, le=1, description="a number above 0 and at most 1")
    temperature: Float = Field(gt=0, description="a number above 0")
    count: Literal["stage", "round"] = Field(description="one of stage, round")
    open_world: Float = Field(ge=0, lt=1, description="a number from 0 (off) to below 1")


class TrainConfig(Group):
    """Local fine-tuning of one client in one round.

    ``steps`` counts optimiser steps of ``accumulation`` batches each; ``epochs``, unless it is 0,
    replaces it by passes over the client's samples. ``group_by_length`` orders a step's samples.
    """

    rank: Int = Field(ge=1, description="a whole number, at least 1")
    scaling: Float = Field(gt=0, description="a number above 0")
    dropout: Float = Field(ge=0, lt=1, description="a number from 0 to below 1")
    lora_targets: Literal["ffn", "attention", "ffn+attention"] = Field(
        description="one of ffn, attention, ffn+attention"
    )
    lr: Float = Field(gt=0, description="a number above 0")
    projector_lr: Float = Field(gt=0, description="a number above 0")
    batch_size: Int = Field(ge=1, description="a whole number, at least 1")
    accumulation: Int = Field(ge=1, description="a whole number, at least 1")
    steps: Int = Field(ge=1, description="a whole number, at least 1")
    epochs: Int = Field(ge=0, description="a whole number, 0 (train.steps decides) or more")
    gradient_checkpointing: Bool = Field(description="one of true, false")
    group_by_length: Bool = Field(description="one of true, false")
    max_gradient_norm: Float = Field(ge=0, description="a number, 0 (no clipping) or more")
    warmup: Float = Field(ge=0, lt=1, description="a share of the steps, from 0 to below 1")


class ModelConfig(Group):
    """The frozen base model: its files, where and in which numbers it runs, how it is asked.

    ``dtype`` is the frozen weights'; what is trained is float32 always.
    """

    name: str = Field(
        min_length=1,
        description="mini, a folder in Hugging Face layout, or a checkpoint's name",
    )
    revision: str = Field(description="branch, tag or commit of a checkpoint's name, or nothing")
    device: Literal["auto", "cpu", "cuda"] = Field(description="one of auto, cpu, cuda")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        description="one of auto, float32, bfloat16"
    )
    quantization: Literal["none", "nf4", "int8"] = Field(description="one of none, nf4, int8")
    attention: Literal["eager", "sdpa", "flash_attention_2"] = Field(
        description="one of eager, sdpa, flash_attention_2"
    )
    prompt: Literal["template", "vicuna-v1"] = Field(description="one of template, vicuna-v1")
    pad_to_square: Bool = Field(description="one of true, false")


class DataConfig(Group):
    """Where samples come from, and how many a task has over all clients together (at most).

    ``feature_cache``: where each machine keeps what the vision tower makes of pictures.
    ``workers``: threads of a process that open and process pictures ahead. Neither changes a bit.
    """

    root: str = Field(description="a folder with FCIT's data, or nothing (the mini benchmark)")
    partition: Literal["seeded", "files"] = Field(description="one of seeded, files")
    on_bad_sample: Literal["refuse", "skip"] = Field(description="one of refuse, skip")
    train_samples: Int = Field(ge=1, description="a whole number, at least 1")
    test_samples: Int = Field(ge=1, description="a whole number, at least 1")
    min_samples: Int = Field(ge=1, description="a whole number, at least 1 (for each client)")
    feature_cache: str = Field(description="a folder, or nothing (no features on disk)")
    workers: Int = Field(ge=0, description="a whole number, 0 (none) or more")


class EvaluateConfig(Group):
    """Evaluation by generation; what goes beyond the accuracy matrix is for federated methods.

    ``transfer``: after each stage also the run's later tasks. ``unseen``: and these tasks, which
    the run never trains (``rest``: all such tasks). ``general``: the base's own skills before the
    first stage and after the last one, or after ``all`` (``general_after``). ``routing`` and
    ``scoring``: the paper's reading first, then the released code's. ``where``: who answers, the
    server or its clients, with the same result. ``predictions``: whether all answers are kept in
    the run folder; of clients, whether they send them at all.
    """

    batch_size: Int = Field(ge=1, description="a whole number, at least 1")
    transfer: Bool = Field(description="one of true, false")
    unseen: tuple[str, ...] = Field(description="names of tasks, or rest, or nothing")
    general: Bool = Field(description="one of true, false")
    general_after: Literal["last", "all"] = Field(description="one of last, all")
    routing: Literal["sample", "batch"] = Field(description="one of sample, batch")
    scoring: Literal["paper", "official"] = Field(description="one of paper, official")
    where: Literal["server", "clients"] = Field(description="one of server, clients")
    predictions: Bool = Field(description="one of true, false")


class GuardConfig(Group):
    """What the server refuses beside what no honest client sends.

    ``norm_factor``: a change this many times the round's median. ``strikes``: after so many
    refused replies in a stage a client is not drawn any more in it.
    """

    norm_factor: Float = Field(ge=0, description="a number, 0 (not judged) or more")
    strikes: Int = Field(ge=0, description="a whole number, 0 (never) or more")


class EwcConfig(Group):
    """Method ``ewc``: how strongly and how long values are held, and by how many samples judged."""

    strength: Float = Field(ge=0, description="a number of 0 or more")
    decay: Float = Field(ge=0, le=1, description="a number from 0 to 1")
    samples: Int = Field(ge=1, description="a whole number, at least 1")


class OLoraConfig(Group):
    """Method ``o-lora``: how strongly a stage's adapter is kept orthogonal to the earlier ones."""

    strength: Float = Field(ge=0, description="a number of 0 or more")


class MLoraConfig(Group):
    """Method ``m-lora``: how many parallel parts a layer has."""

    parts: Int = Field(ge=1, description="a whole number, at least 1")


class MoeLoraConfig(Group):
    """Method ``moelora``: how many experts a layer has."""

    experts: Int = Field(ge=1, description="a whole number, at least 1")


class L2pConfig(Group):
    """Method ``l2p``: a pool's size, a prompt's tokens, a question's prompts, pull on keys, lr."""

    pool: Int = Field(ge=1, description="a whole number, at least 1")
    length: Int = Field(ge=1, description="a whole number, at least 1")
    top: Int = Field(ge=1, description="a whole number from 1 to l2p.pool")
    strength: Float = Field(ge=0, description="a number of 0 or more")
    lr: Float = Field(gt=0, description="a number above 0")


class RunConfig(Group):
    """Everything that decides a run's result, and where it is written.

    With ``codec_feedback`` what ``int8`` takes from a change is added to the client's next one.

    ``tasks`` is the order of the stages of scenario ``hom``; empty means the published order of the
    setting. Read ``stages`` for the resolved order, and ``make_stages`` (``fcit_app.data.stages``)
    for the stages of any scenario. Seconds: ``client_timeout`` (any answer), ``round_timeout``
    (training, if it is to be another), and ``client_resident``, for which a deployment's node keeps
    the base loaded without work. With fewer than ``min_clients`` usable replies a round is a
    shortfall. ``codec``: how trained arrays travel. ``tracking``: who draws curves while it works.
    """

    preset: str = Field(description="the name of a preset")
    method: MethodName = Field(description="one of " + ", ".join(METHODS))
    aggregator: AggregatorSpec = Field(
        description="one of " + ", ".join((*AGGREGATORS, "package.module:ClassName"))
    )
    # Flat, since TOML has no table beside the value `aggregator`.
    aggregator_arguments: str = Field(
        alias="aggregator.arguments",
        description="text such as eta=0.01, tau=1e-3 (the aggregator's arguments), or nothing",
    )
    setting: Literal["task", "capability"] = Field(description="one of task, capability")
    scenario: ScenarioSpec = Field(description="one of hom, het, FILE.toml, FILE.json")
    tasks: tuple[str, ...] = Field(description="names separated by commas, or nothing")
    beta: Float = Field(gt=0, description="a number above 0")
    seed: Int = Field(ge=0, lt=2**32, description="a whole number from 0 to 4294967295")
    client_draw: Literal["seeded", "official"] = Field(description="one of seeded, official")
    clients_per_round: Int = Field(ge=1, description="a whole number, at least 1")
    rounds: Int = Field(ge=1, description="a whole number, at least 1 (for each stage)")
    out: str = Field(min_length=1, description="a folder for the run")
    resume: str = Field(description="the folder of a run that is to go on, or nothing")
    resume_allow: Bool = Field(description="one of true, false")
    activation: Literal["softmax", "argmax", "cosine", "concat"] = Field(
        description="one of softmax, argmax, cosine, concat"
    )
    projector: Literal["shared", "frozen", "per-subspace"] = Field(
        description="one of shared, frozen, per-subspace"
    )
    client_timeout: Float = Field(gt=0, description="seconds, a number above 0")
    client_resident: Float = Field(ge=0, description="seconds, a number of 0 (not at all) or more")
    round_timeout: Float = Field(
        ge=0, description="seconds, a number of 0 (client-timeout) or more"
    )
    min_clients: Int = Field(ge=1, description="a whole number from 1 to clients-per-round")
    on_shortfall: Literal["proceed", "retry", "stop"] = Field(
        description="one of proceed, retry, stop"
    )
    shortfall_retries: Int = Field(ge=1, description="a whole number, at least 1")
    codec_feedback: Bool = Field(description="one of true, false")
    codec: Literal["none", "bf16", "int8"] = Field(description="one of none, bf16, int8")
    tracking: Literal["none", "tensorboard", "wandb"] = Field(
        description="one of none, tensorboard, wandb"
    )
    guard: GuardConfig
    privacy: PrivacyConfig
    identity: IdentityConfig
    train: TrainConfig
    ewc: EwcConfig
    o_lora: OLoraConfig
    m_lora: MLoraConfig
    moelora: MoeLoraConfig
    l2p: L2pConfig
    model: ModelConfig
    data: DataConfig
    evaluate: EvaluateConfig

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages of scenario ``hom`` in the order of this run."""
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
