"""What a run will need: traffic exactly, memory and disk by formulae.

Traffic and parameters are counted from the model's shapes. Memory is a sum of what has to be held
at once (``training_memory``); it was never compared with a GPU's own figures.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from fcit_app.config import RunConfig
from fcit_app.data.catalogue import is_private
from fcit_app.data.folder.datasets import dataset
from fcit_app.data.stages import make_stages, tasks_seen
from fcit_app.errors import ConfigError
from fcit_app.model.sizes import ModelSizes, model_sizes

HEADER = 128
"""Bytes before each array's numbers on the wire (NumPy's format, as Flower uses it)."""

FEATURES_HEADER = 256
"""Bytes before a picture's features on disk, about."""

TEXT_TOKENS = 128
"""Tokens of a row beside its picture's, as assumed for activations."""

ANSWER_TOKENS = 16
"""Answer tokens of a row, as assumed for logits."""

_ESTIMATED = ("disco", "finetune")
_PACKED = {"nf4": 0.516, "int8": 1.0}
_RESERVE = 1.5 * 2**30  # CUDA's context and libraries, and the allocator's gaps


@dataclass(frozen=True)
class Estimate:
    """Bytes that a run needs.

    Parameters
    ----------
    weights : int
        Frozen weights on the device.
    training : int
        Memory of the device while a client trains, the weights included.
    round_down, round_up : int
        Arrays from and to the server in a round, exactly, without their names (some 80 bytes each)
        and the clients' identity tokens.
    disk : int
        Run folder, at most: one subspace a participant and stage, in two copies while saving.
    features : int
        ``data.feature-cache`` on a machine that sees all pictures of the run, at most; 0 without.
    """

    weights: int
    training: int
    round_down: int
    round_up: int
    disk: int
    features: int

    def as_dict(self) -> dict[str, int]:
        """Plain numbers, for JSON."""
        return asdict(self)


def estimate(config: RunConfig, sizes: ModelSizes, on_gpu: bool) -> Estimate:
    """Add up what a run of a configuration needs.

    Parameters
    ----------
    config : RunConfig
        Its method is ``disco`` or ``finetune``.
    sizes : ModelSizes
        Of its base.
    on_gpu : bool
        Where ``auto`` settles, and whether CUDA's own memory is added.

    Raises
    ------
    ConfigError
        For another method.
    """
    if config.method not in _ESTIMATED:
        raise ConfigError(
            f"method: {config.method!r} is not allowed for an estimate, since what it sends and "
            f"holds beside one adapter is not counted; allowed: {', '.join(_ESTIMATED)}."
        )
    adapter = sizes.adapter_per_rank * config.train.rank
    projector = 0 if config.projector == "frozen" else sizes.projector
    arrays = sizes.arrays_adapter + (sizes.arrays_projector if projector else 0)
    one_way = config.clients_per_round * (4 * (adapter + projector) + HEADER * arrays)
    stages = len(make_stages(config))
    subspaces = 1 if config.method == "finetune" else stages * config.clients_per_round
    projectors = subspaces if config.projector == "per-subspace" else 1
    return Estimate(
        weights=frozen_weights(config, sizes, on_gpu),
        training=training_memory(config, sizes, on_gpu),
        round_down=one_way,
        round_up=one_way,
        disk=2 * 4 * (subspaces * adapter + projectors * projector),
        features=features_on_disk(config, sizes, on_gpu) if config.data.feature_cache else 0,
    )


def features_on_disk(config: RunConfig, sizes: ModelSizes, on_gpu: bool) -> int:
    """Bytes of the features of all pictures of a run, each counted once.

    A picture's take ``picture_numbers`` of b bytes (the tower is never quantised) and
    ``FEATURES_HEADER``. Of a task there are as many training and test pictures as the settings
    allow, or as its data set is known to have if these are fewer; questions that share a picture
    need it once, and of a base that sees pictures in their own size another than ``TYPICAL`` takes
    more or less.
    """
    stages, data = make_stages(config), config.data
    pictures = 0
    for task in tasks_seen(stages, len(stages)):
        known = dataset(task) if data.root and not is_private(task) else None
        for most, there in (
            (data.train_samples, known and known.train_records),
            (data.test_samples, known and known.test_records),
        ):
            pictures += min(most, there or most)
    each = sizes.picture_numbers * _bytes_each(config, on_gpu) + FEATURES_HEADER
    return pictures * each if sizes.picture_numbers else 0


def frozen_weights(config: RunConfig, sizes: ModelSizes, on_gpu: bool) -> int:
    """Bytes of the frozen weights.

    ``packable * p + other * b``, with b = 4 (float32) or 2 (bfloat16) and p = b, 1 (int8), or 0.516
    for NF4: half a byte a weight, and constants of 8 bits for 64 weights, themselves packed (QLoRA,
    Dettmers et al. 2023). The projector is float32 always.
    """
    each = _bytes_each(config, on_gpu)
    packed = _PACKED.get(config.model.quantization, each)
    return round(sizes.packable * packed + sizes.other * each + sizes.projector * 4)


def training_memory(config: RunConfig, sizes: ModelSizes, on_gpu: bool) -> int:
    """Bytes held while a client trains.

    The frozen weights; 4 * 5 a trained number (value, gradient, AdamW's two moments, the copy that
    is put back); activations; logits. With T = batch * (image tokens + ``TEXT_TOKENS``) tokens and
    b bytes a number, a layer keeps ``T * (b * (10 * hidden + 4 * ffn) + 4 * (2 * hidden + ffn))``:
    its own numbers, and what the adapter casts to float32. ``eager`` attention adds
    ``heads * T * row * (2 * b + 4)``. Without checkpointing each layer keeps that; with it each
    keeps its input, ``T * b * hidden``, and one layer at a time the rest. Logits are
    ``3 * 4 * batch * ANSWER_TOKENS * vocabulary``. On a GPU 1.5 GiB are added for CUDA itself.
    """
    each, batch = _bytes_each(config, on_gpu), config.train.batch_size
    row = sizes.image_tokens + TEXT_TOKENS
    tokens = batch * row
    trained = sizes.adapter_per_rank * config.train.rank
    trained += 0 if config.projector == "frozen" else sizes.projector
    layer = tokens * (
        each * (10 * sizes.hidden + 4 * sizes.ffn) + 4 * (2 * sizes.hidden + sizes.ffn)
    )
    if config.model.attention == "eager":
        layer += sizes.heads * tokens * row * (2 * each + 4)
    if config.train.gradient_checkpointing:
        activations = sizes.layers * tokens * each * sizes.hidden + layer
    else:
        activations = sizes.layers * layer
    logits = 3 * 4 * batch * ANSWER_TOKENS * sizes.vocabulary
    reserve = _RESERVE if on_gpu else 0
    weights = frozen_weights(config, sizes, on_gpu)
    return round(weights + 20 * trained + activations + logits + reserve)


def check_gpu(config: RunConfig, client_gpus: float, available: int | None) -> None:
    """Refuse, before anything starts, a simulation whose clients cannot train on this GPU.

    Parameters
    ----------
    config : RunConfig
        The run's configuration; methods that are not estimated pass.
    client_gpus : float
        GPUs of each client, or a share of one; 0 leaves clients to the CPU.
    available : int or None
        Memory of a GPU in bytes; None without one.

    Raises
    ------
    ConfigError
        If there is no GPU, or training needs more than a client's share of it.
    """
    if client_gpus <= 0:
        return
    if available is None:
        raise ConfigError(
            f"--client-gpus: {client_gpus} is not allowed, since torch sees no GPU on this machine;"
            " allowed: 0. Install a CUDA build of torch, or leave the option out."
        )
    if config.method not in _ESTIMATED or config.model.device == "cpu":
        return
    sizes = model_sizes(config.model.name, config.model.revision, config.train.lora_targets)
    needed, share = training_memory(config, sizes, True), round(min(client_gpus, 1) * available)
    if needed > share:
        raise ConfigError(f"--client-gpus: {advice(config, needed, share)}")


def advice(config: RunConfig, needed: int, available: int) -> str:
    """Say how a run that needs too much memory can be made to fit."""
    train, ways = config.train, []
    if not train.gradient_checkpointing:
        ways.append("train.gradient-checkpointing = true")
    if config.model.attention == "eager":
        ways.append("model.attention = sdpa")
    if train.batch_size > 1:
        half = train.batch_size // 2
        ways.append(
            f"train.batch-size = {half} with train.accumulation = {2 * train.accumulation} (the "
            "same steps)"
        )
    if config.model.quantization == "none":
        ways.append("model.quantization = nf4")
    ways.append("a GPU with more memory")
    return (
        f"Training needs about {needed / 2**30:.1f} GiB, and there are {available / 2**30:.1f} GiB."
        f" What helps: {'; '.join(ways)}."
    )


def _bytes_each(config: RunConfig, on_gpu: bool) -> int:
    dtype = config.model.dtype
    if dtype == "auto":
        dtype = "bfloat16" if on_gpu else "float32"
    return 2 if dtype == "bfloat16" else 4
