"""What would make a run fail after it has begun, told before anything is made or deleted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fcit_app.config import RunConfig, Scalar, flatten, parse
from fcit_app.config.schema import KEYS
from fcit_app.data.folder.datasets import dataset
from fcit_app.data.stages import deal, make_stages, tasks_seen
from fcit_app.errors import ConfigError, DataError


def preflight(config: RunConfig, clients: int | None = None) -> None:
    """Check what a configuration asks for against the disk, itself and the federation.

    Parameters
    ----------
    config : RunConfig
        The run's configuration.
    clients : int, optional
        Clients that share the data; what depends on their number is not judged without it.

    Raises
    ------
    ConfigError
        With all the problems at once, see ``foreseen``.
    """
    problems = foreseen(flatten(config), clients)
    if problems:
        raise ConfigError(problems)


def foreseen(values: Mapping[str, Scalar], clients: int | None = None) -> list[str]:
    """Foresee problems of a run; as one of ``parse``'s checks, beside wrong values.

    Parameters
    ----------
    values : Mapping[str, bool | int | float | str]
        Flat configuration without the keys known to be wrong; relative paths are taken from the
        working directory.
    clients : int, optional
        See ``preflight``.

    Returns
    -------
    list[str]
        The base model's or encoder's folder is missing, there are too few samples to exchange
        pictures, fewer clients than participants of a round, or a stage whose samples cannot be
        dealt to the clients.
    """
    problems = _folders(values)
    if not values.keys() >= set(KEYS):
        return problems  # the rest judges several keys together
    config = parse(values)
    if config.method == "blind":
        problems += _too_few_to_exchange(config)
    if config.data.root:
        problems += _missing_files(config)
    if config.federated and clients is not None:
        problems += _too_few_clients(config, clients) + _cannot_be_dealt(config, clients)
    return problems


def _folders(values: Mapping[str, Scalar]) -> list[str]:
    problems = []
    name = str(values.get("model.name", "mini"))
    if name != "mini" and not _folder(name).is_dir():
        problems.append(
            f"model.name: {name!r} is not allowed; allowed: mini, or a folder in Hugging Face "
            f"layout. There is no folder {_folder(name)}."
        )
    encoder = str(values.get("identity.encoder", ""))
    place = encoder.partition(":")[2]
    # A checkpoint's name, `organisation/model`, is looked up in the local cache when it is loaded.
    is_path = Path(place).is_absolute() or place.startswith((".", "~")) or place.count("/") > 1
    if is_path and not _folder(place).is_dir():
        problems.append(
            f"identity.encoder: {encoder!r} is not allowed; allowed: a folder, or the name of a "
            f"checkpoint in the local cache. There is no folder {_folder(place)}."
        )
    root = str(values.get("data.root", ""))
    if root and not _folder(root).is_dir():
        problems.append(
            f"data.root: {root!r} is not allowed; allowed: a folder with FCIT's data, or nothing. "
            f"There is no folder {_folder(root)}."
        )
    if not root and values.get("data.partition") == "files":
        problems.append(
            "data.partition: 'files' is not allowed without data.root; allowed: seeded. Name the "
            "folder that holds partitioned_data, or set data.partition=seeded."
        )
    return problems


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _missing_files(config: RunConfig) -> list[str]:
    """Files that this process reads; a federation's training files may be its clients' own."""
    root, stages = _folder(config.data.root), make_stages(config)
    entries = [dataset(task) for task in tasks_seen(stages, len(stages))]
    paths = [entry.test_path for entry in entries]
    if not config.federated:
        paths += [entry.train_path for entry in entries]
    missing = [path for path in paths if not (root / path).is_file()]
    if not root.is_dir() or not missing:
        return []
    return [
        f"data.root: {config.data.root!r} lacks {', '.join(missing)}. `fcit doctor` says where to "
        "fetch them; or name other tasks."
    ]


def _too_few_to_exchange(config: RunConfig) -> list[str]:
    sizes = {
        "data.train-samples": config.data.train_samples,
        "data.test-samples": config.data.test_samples,
    }
    return [
        f"{key}: {size} is not allowed; allowed for method blind, which exchanges pictures "
        "between samples: a whole number, at least 2."
        for key, size in sizes.items()
        if size < 2
    ]


def _too_few_clients(config: RunConfig, clients: int) -> list[str]:
    need = config.clients_per_round
    if clients >= need:
        return []
    return [
        f"clients-per-round: {need} participants are wanted in each round, but there "
        f"{'is' if clients == 1 else 'are'} only {clients} client{'' if clients == 1 else 's'}."
        f" Lower clients-per-round, or add clients: `fcit run --clients {need}`, or "
        f'`flwr run . --federation-config "num-supernodes={need}"`.'
    ]


def _cannot_be_dealt(config: RunConfig, clients: int) -> list[str]:
    """Deal every stage as the clients will; one stage that fails stands for all."""
    if config.data.root:
        return []  # how many samples a folder has is known once it is read
    stages, each = make_stages(config), config.data.train_samples
    pooled = min(len(stage.tasks) for stage in stages)
    needed = -(-clients * config.data.min_samples // pooled)
    if each < needed:
        return [
            f"data.train-samples: {each} samples of a task cannot give each of {clients} clients "
            f"data.min-samples = {config.data.min_samples}. Use at least {needed}, or lower "
            "data.min-samples."
        ]
    for stage in stages:
        try:
            deal(config, stage, each * len(stage.tasks), clients)
        except DataError as error:
            return [f"stage {stage.name}: {error}"]
    return []
