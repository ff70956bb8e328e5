"""What would make a run fail after it has begun, told before anything is made or deleted."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from fcit_app.config import RunConfig, Scalar, flatten, parse
from fcit_app.config.contradictions import contradictions
from fcit_app.config.paths import is_hub_name
from fcit_app.config.schema import FEDERATED_METHODS, KEYS
from fcit_app.data.catalogue import REST, is_private, never_trained, tasks_of
from fcit_app.data.folder.datasets import dataset
from fcit_app.data.folder.private import private_test_file, private_train_file
from fcit_app.data.scenario import misfits
from fcit_app.data.scenario_file import load_scenario
from fcit_app.data.stages import deal, make_stages, tasks_seen
from fcit_app.errors import ConfigError, DataError
from fcit_app.model.text_alone import text_alone_problems
from fcit_app.tracking import missing_package


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
        Settings contradict each other, the base model's or encoder's folder is missing, the base
        cannot be quantised, has no such attention, or neither projector nor eyes, the tracker's
        package is missing, the paper's presets have no data, captions cannot be scored, the
        scenario does not fit the other settings or its file is wrong, a task that the run trains is
        named as unseen, fewer clients than participants of a round, or something whose samples
        cannot be dealt to the clients.
    """
    about_scenario = _scenario(values, clients)
    problems = _folders(values) + about_scenario
    if not values.keys() >= set(KEYS):
        return problems  # the rest judges several keys together
    config = parse(values)
    problems += contradictions(config)
    problems += _base_model(config) + _nothing_to_track_with(config)
    # Without a sound scenario nobody knows what is trained.
    problems += [] if about_scenario else _trained_after_all(config) + _text_alone(config)
    if not about_scenario:
        problems += _missing_files(config) + _no_caption_scorers(config)
    if config.federated and clients is not None:
        problems += _too_few_clients(config, clients) + _cannot_be_dealt(config, clients)
    return problems


def _folders(values: Mapping[str, Scalar]) -> list[str]:
    problems = []
    name = str(values.get("model.name", "mini"))
    # A checkpoint's name is looked up in the local cache when it is loaded.
    if name != "mini" and not _folder(name).is_dir() and not is_hub_name(name):
        problems.append(
            f"model.name: {name!r} is not allowed; allowed: mini, or a folder in Hugging Face "
            f"layout, or a checkpoint's name. There is no folder {_folder(name)}."
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
    cache = str(values.get("data.feature-cache", ""))
    if cache and _folder(cache).exists() and not _folder(cache).is_dir():
        problems.append(
            f"data.feature-cache: {cache!r} is not allowed, since it is no folder; allowed: a "
            "folder, which need not be there yet, or nothing."
        )
    preset = str(values.get("preset", ""))
    if not root and preset.startswith("paper-"):
        problems.append(
            f"data.root: nothing is not allowed with preset {preset}; allowed: a folder with FCIT's"
            " data. Name it: --set data.root=FOLDER; `fcit doctor FOLDER` says what it lacks."
        )
    elif not root and values.get("data.partition") == "files":
        problems.append(
            "data.partition: 'files' is not allowed without data.root; allowed: seeded. Name the "
            "folder that holds partitioned_data, or set data.partition=seeded."
        )
    return problems


def _scenario(values: Mapping[str, Scalar], clients: int | None) -> list[str]:
    """Judge the scenario, its file and whether it fits the other settings, as far as known."""
    name, setting = str(values.get("scenario", "hom")), values.get("setting")
    if name == "hom" or setting not in ("task", "capability"):
        return []
    problems = []
    if values.get("tasks"):
        problems.append(
            f"tasks: {values['tasks']!r} is not allowed with scenario {Path(name).name}, which says"
            " itself what is learnt when. Leave tasks empty (tasks=''), or set scenario=hom."
        )
    try:
        scenario = load_scenario(name, "task" if setting == "task" else "capability")
    except ConfigError as error:
        return [*problems, *error.problems]
    if values.get("method", "disco") not in FEDERATED_METHODS:
        return problems
    participants = values.get("clients-per-round")
    return problems + misfits(
        scenario, participants if isinstance(participants, int) else None, clients
    )


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _trained_after_all(config: RunConfig) -> list[str]:
    stages = make_stages(config)
    trained = tasks_seen(stages, len(stages))
    return [
        f"evaluate.unseen: {task!r} is not allowed, since this run trains it; allowed: tasks that "
        f"it never trains ({', '.join(never_trained((REST,), trained)) or 'there is none'}). "
        "Tasks of its later stages are asked with evaluate.transfer = true."
        for task in never_trained(config.evaluate.unseen, trained)
        if task in trained
    ]


def _base_model(config: RunConfig) -> list[str]:
    model = config.model
    problems = []
    if model.attention == "flash_attention_2":
        if model.device == "cpu" or model.dtype == "float32":
            problems.append(
                "model.attention: 'flash_attention_2' is not allowed on the CPU or in float32; "
                "allowed there: eager, sdpa."
            )
        elif find_spec("flash_attn") is None:
            problems.append(
                "model.attention: 'flash_attention_2' is not allowed without the package "
                "flash-attn; allowed: eager, sdpa. Install it where the base runs: pip install "
                "flash-attn --no-build-isolation."
            )
    if model.quantization != "none" and find_spec("bitsandbytes") is None:
        problems.append(
            f"model.quantization: {model.quantization!r} is not allowed without the package "
            'bitsandbytes; allowed: none. Install it: pip install "fcit-disco[quantization]".'
        )
    return problems


def _nothing_to_track_with(config: RunConfig) -> list[str]:
    why = missing_package(config.tracking)
    return [f"tracking: {config.tracking!r} is not allowed here; {why}"] if why else []


def _missing_files(config: RunConfig) -> list[str]:
    """Files that this process reads; a federation's training files may be its clients' own."""
    root, stages = _folder(config.data.root), make_stages(config)
    tasks = tasks_seen(stages, len(stages))
    own = [task for task in tasks if is_private(task)]
    if not config.data.root:
        return [
            f"scenario: {task!r} is not allowed without data.root; allowed: a folder that holds "
            f"{private_test_file(Path(), task)}, by which the task is evaluated."
            for task in own
        ]
    entries = [dataset(task) for task in tasks if task not in own]
    paths = [entry.test_path for entry in entries]
    paths += [entry.captions_path for entry in entries if entry.captions_path]
    paths += [str(private_test_file(Path(), task)) for task in own]
    if not config.federated:
        paths += [entry.train_path for entry in entries]
        paths += [str(private_train_file(Path(), task)) for task in own]
    missing = [path for path in paths if not (root / path).is_file()]
    if not root.is_dir() or not missing:
        return []
    return [
        f"data.root: {config.data.root!r} lacks {', '.join(missing)}. `fcit doctor` says where to "
        "fetch them; or name other tasks."
    ]


def _text_alone(config: RunConfig) -> list[str]:
    """Judge a base in a folder that sees no pictures; any other is judged when it is loaded."""
    stages = make_stages(config)
    trained = tasks_seen(stages, len(stages))
    asked = (*trained, *never_trained(config.evaluate.unseen, trained))
    pictured = [task for task in asked if not is_private(task)]
    name, token = config.model.name, config.identity.token
    return text_alone_problems(name, _folder(name), config.projector, token, pictured)


def _no_caption_scorers(config: RunConfig) -> list[str]:
    stages = make_stages(config)
    trained = tasks_seen(stages, len(stages))
    asked = (*trained, *never_trained(config.evaluate.unseen, trained))
    known = [task for task in asked if config.data.root and not is_private(task)]
    captions = [task for task in known if dataset(task).metric == "captions"]
    if not captions or find_spec("pycocoevalcap"):
        return []
    return [
        f"data.root: captions ({', '.join(captions)}) are scored by the package pycocoevalcap, "
        "which is not installed. Install it (pip install 'fcit-disco[captions]'), or name other "
        "tasks."
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
    """Deal all that is taught as the clients will; one that fails stands for all."""
    if config.data.root:
        return []  # how many samples a folder has is known once it is read
    try:
        stages = make_stages(config)
    except ConfigError:
        return []  # the scenario's file has been judged by itself
    whole = (name for stage in stages for name in stage.timetable.whole)
    names = dict.fromkeys(name for name in whole if not is_private(name))
    sizes, each = {name: len(tasks_of(name)) for name in names}, config.data.train_samples
    pooled = min(sizes.values(), default=1)
    needed = -(-clients * config.data.min_samples // pooled)
    if each < needed:
        return [
            f"data.train-samples: {each} samples of a task cannot give each of {clients} clients "
            f"data.min-samples = {config.data.min_samples}. Use at least {needed}, or lower "
            "data.min-samples."
        ]
    for name, size in sizes.items():
        try:
            deal(config, name, each * size, clients)
        except DataError as error:
            return [f"stage {name}: {error}"]
    return []
