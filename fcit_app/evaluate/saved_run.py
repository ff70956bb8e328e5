"""The bank that a run has left in its folder, and the settings to ask it with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcit_app.config import RunConfig, Scalar, parse, resolve_paths
from fcit_app.config.schema import KEYS
from fcit_app.data.catalogue import is_private
from fcit_app.data.folder.private import private_test_file, private_train_file
from fcit_app.data.load import Split
from fcit_app.data.stages import make_stages, tasks_seen
from fcit_app.errors import ConfigError, ModelError, RunFolderError
from fcit_app.model.bank import Bank
from fcit_app.runs import RESUME, RunFolder, read_result

INFERENCE_KEYS: tuple[str, ...] = (
    "activation",
    "identity.temperature",
    "identity.open-world",
    "evaluate.batch-size",
    "evaluate.routing",
    "evaluate.scoring",
    "data.test-samples",
    "data.root",
    "data.feature-cache",
    "data.workers",
)
"""Settings that may differ from the run's: all others have made the bank what it is."""

_ROUTED_KEYS = ("activation", "identity.temperature", "identity.open-world")


@dataclass(frozen=True, eq=False)
class SavedRun:
    """A bank with its place in the run that made it.

    Parameters
    ----------
    path : Path
        The run folder.
    config : RunConfig
        The run's configuration, with what was changed for inference.
    bank : Bank
        As it was after its last round.
    stage, round : int
        Where the run stood then; both count from 1.
    trained : Mapping[int, tuple[str, ...]]
        Identifier of a subspace to the tasks of its samples; empty while the run has no result.
    digest : str
        Of the bank; another bank has another one.
    private : tuple[str, ...]
        Clients' own tasks that had been learned by then.
    """

    path: Path
    config: RunConfig
    bank: Bank
    stage: int
    round: int
    trained: Mapping[int, tuple[str, ...]]
    digest: str
    private: tuple[str, ...] = ()

    @property
    def routed(self) -> bool:
        """Whether questions choose among subspaces by identity tokens."""
        return any(subspace.token is not None for subspace in self.bank.subspaces)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that had been learned by then, in the order in which they were met.

        Of clients' own tasks those that can be asked here.
        """
        own = (task for task in self.private if self.asked_in(task, "test").is_file())
        seen = tasks_seen(make_stages(self.config), self.stage)
        return tuple(dict.fromkeys((*seen, *own)))

    def asked_in(self, task: str, split: Split) -> Path:
        """File that a private task's samples of a split come from; it need not be there."""
        find = private_test_file if split == "test" else private_train_file
        return find(Path(self.config.data.root), task)

    def unasked(self, tasks: Sequence[str], split: Split) -> list[str]:
        """Say of each private task among some why it cannot be asked here, if it cannot."""
        root = self.config.data.root
        missing = [task for task in tasks if is_private(task)]
        if root:
            missing = [task for task in missing if not self.asked_in(task, split).is_file()]
        return [
            f"--tasks: {task!r} has no {split} samples here, which would be in "
            f"{self.asked_in(task, split) if root else f'FOLDER/{self.asked_in(task, split)}'}. "
            "Put them there (records as in training, see docs/data.md), or name the folder that "
            "has them: --set data.root=FOLDER."
            for task in missing
        ]


def open_saved_run(path: Path, changes: Mapping[str, Scalar] | None = None) -> SavedRun:
    """Read a run's last bank.

    Parameters
    ----------
    path : Path
        A run folder; the run need not have finished.
    changes : Mapping[str, bool | int | float | str], optional
        Some of ``INFERENCE_KEYS`` with other values than the run's.

    Raises
    ------
    RunFolderError
        If there is no run, its files are damaged, or it has no bank (yet).
    ConfigError
        With every key that is unknown or may not be changed, and every wrong value.
    """
    changes = changes or {}
    folder = RunFolder(path)
    flat = folder.read_config()
    try:
        own = parse(flat)
    except ConfigError as error:
        raise RunFolderError(
            f"{folder.path / 'config.json'} is not of this version: {error} Use the version that "
            "made the run."
        ) from error
    if not own.federated:
        raise RunFolderError(
            f"{folder.path} is a run of method {own.method}, which keeps no bank. Name a run of a "
            "federated method, such as disco or finetune."
        )
    config = _changed(own, flat, changes)
    bank, stage, number, private = _read_bank(folder)
    trained, digest = _trained(folder), digest_of(bank)
    run = SavedRun(folder.path, config, bank, stage, number, trained, digest, private)
    useless = [key for key in _ROUTED_KEYS if key in changes and not run.routed]
    if useless:
        raise ConfigError([unrouted(key, run) for key in useless])
    return run


def unrouted(key: str, run: SavedRun) -> str:
    """Say that a setting of activation means nothing to a run's bank."""
    return (
        f"{key}: cannot be set for method {run.config.method}, whose bank has no identity tokens, "
        "so that nothing is chosen by them. Leave it out."
    )


def digest_of(bank: Bank) -> str:
    """Hash of all that is in a bank, in hexadecimal."""
    arrays, facts = bank.to_arrays()
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _changed(
    own: RunConfig, flat: Mapping[str, Scalar], changes: Mapping[str, Scalar]
) -> RunConfig:
    fixed = [key for key in changes if key in KEYS and key not in INFERENCE_KEYS]
    problems = [
        f"{key}: cannot be changed, since the run's bank was made with {flat.get(key, '')!r}; "
        f"allowed: {', '.join(INFERENCE_KEYS)}."
        for key in fixed
    ]
    rest = {key: value for key, value in changes.items() if key not in fixed}
    config = own
    try:
        config = parse({**flat, **rest})
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return resolve_paths(config)


def _read_bank(folder: RunFolder) -> tuple[Bank, int, int, tuple[str, ...]]:
    """Give the bank with its stage and round, and the private tasks learned by then."""
    nothing = f"{folder.path} has no bank yet: the first round of its run has not ended."
    if not (folder.path / "state").is_dir():
        raise RunFolderError(nothing)
    arrays, meta = folder.load_state()
    try:
        bank, stage = Bank.from_arrays(arrays, meta["bank"]), int(meta["stage"])
        number = int(meta["round"])
        own = meta.get(RESUME, {}).get("private", {}).values()
        private = dict.fromkeys(name for name, when in own if not when or min(when) <= stage)
    except (KeyError, TypeError, ValueError, ModelError) as error:
        raise RunFolderError(
            f"The saved state in {folder.path / 'state'} is damaged: {error}"
        ) from error
    if stage < 1 or not bank.subspaces:
        raise RunFolderError(nothing)
    return bank, stage, number, tuple(private)


def _trained(folder: RunFolder) -> dict[int, tuple[str, ...]]:
    if not (folder.path / "result.json").is_file():
        return {}
    return {s.id: tuple(s.task_counts) for s in read_result(folder.path).subspaces or ()}
