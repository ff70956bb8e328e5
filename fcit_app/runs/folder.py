"""A run leaves a folder; this class is the only one that knows its layout."""

from __future__ import annotations

import logging
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fcit_app.arrays import Arrays
from fcit_app.errors import RunFolderError
from fcit_app.runs.analysis import FILE as ANALYSIS_FILE
from fcit_app.runs.analysis import RunAnalysis
from fcit_app.runs.atomic import read_json, write_json
from fcit_app.runs.disk import keeping, writing
from fcit_app.runs.ledger import Ledger
from fcit_app.runs.lock import NAME as LOCK_NAME
from fcit_app.runs.lock import check_unlocked
from fcit_app.runs.result import RunResult, read_result
from fcit_app.runs.state_file import (
    NEWEST,
    PREVIOUS,
    SavedState,
    put_right,
    read_state,
    write_state,
)
from fcit_app.runs.stop import NAME as STOP_NAME
from fcit_app.runs.token_book import FOLDER as TOKENS

_LOGGER = logging.getLogger(__name__)

RESUME = "resume"
"""Key of what only a resumed run needs in a state's facts; before a slash, in its arrays' names."""

LOG_NAME = "flower.log"
"""Flower's log: written beside the run's files, before the run itself has begun."""

PREDICTIONS = "predictions"
"""Folder of a run's own answers, if they are kept (``evaluate.predictions``)."""

TRACKING = "tracking"
"""Folder of a run's curves, if it is tracked (``tracking``, `fcit track`)."""

_NAMES = frozenset(
    {
        ANALYSIS_FILE,
        "config.json",
        "environment.json",
        "evaluation",
        "ledger.jsonl",
        PREDICTIONS,
        "result.json",
        "report.html",
        "state",
        "tau.png",
        LOG_NAME,
        TOKENS,
        TRACKING,
        LOCK_NAME,
        STOP_NAME,
    }
)

_OF_A_RUN = ("config.json", "result.json", "ledger.jsonl")
"""Files by any of which a run's folder, whole or not, is known."""


class RunFolder:
    """One run on disk: ``config.json``, ``environment.json``, ``ledger.jsonl``, ``state/``, result.

    During and after a federated run also ``analysis.json``.

    Parameters
    ----------
    path : Path
        An existing run folder; use ``create`` for a new one.

    Attributes
    ----------
    path : Path
        Absolute.
    ledger : Ledger
        Where events are recorded.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path).resolve()
        if not (self.path / "config.json").is_file():
            raise RunFolderError(f"{self.path} is not a run folder: it has no config.json.")
        self.ledger = Ledger(self.path / "ledger.jsonl")

    @classmethod
    def create(
        cls, path: Path | str, config: Mapping[str, Any], environment: Mapping[str, Any]
    ) -> RunFolder:
        """Make the folder of a new run and write what is known before it starts.

        Parameters
        ----------
        path : Path or str
            Missing, empty, or holding nothing but Flower's log.
        config : Mapping
            Flat configuration, see ``fcit_app.config.flatten``.
        environment : Mapping
            See ``describe_environment``.

        Raises
        ------
        RunFolderError
            If the folder already holds another run or anything else, or cannot be written.
        """
        folder = Path(path).resolve()
        check_free(folder)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "environment.json", environment)
            write_json(folder / "config.json", config)
        return cls(folder)

    def read_config(self) -> dict[str, Any]:
        """Flat configuration of the run."""
        return read_json(self.path / "config.json")

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write ``result.json`` atomically, after checking it against the schema.

        Raises
        ------
        RunFolderError
            If the result does not have exactly the keys of ``RunResult``, or a wrong value.
        """
        write_json(self.path / "result.json", RunResult.check(result).model_dump())

    def write_analysis(self, analysis: RunAnalysis) -> None:
        """Replace ``analysis.json`` by this one, atomically."""
        write_json(self.path / ANALYSIS_FILE, analysis.model_dump())

    def predictions_file(self, stage: int) -> Path:
        """Path of the answers that the evaluation after a stage (0: before the first) keeps."""
        folder = self.path / PREDICTIONS
        with keeping(folder):
            folder.mkdir(exist_ok=True)
        return folder / f"stage-{stage:02d}.jsonl"

    def read_result(self) -> RunResult:
        """Read ``result.json`` back, checked."""
        return read_result(self.path)

    def save_state(self, arrays: Arrays, meta: Mapping[str, Any]) -> None:
        """Make this the saved state; the one before stays beside it, see ``state_file``.

        Parameters
        ----------
        arrays : Arrays
            Name to array, any dtype.
        meta : Mapping
            JSON; travels inside the safetensors file, so that arrays and meta cannot be of two
            rounds, and lies readable in ``round.json`` beside it (but for its key ``resume``).

        Raises
        ------
        RunFolderError
            If it cannot be written; the state before it is whole.
        """
        state = self.path / "state"
        with keeping(state):
            state.mkdir(exist_ok=True)
        write_state(state, arrays, meta)
        write_json(state / "round.json", {k: v for k, v in meta.items() if k != RESUME})

    def load_state(self) -> tuple[Arrays, dict[str, Any]]:
        """Arrays and meta of the last ``save_state``, without what only a resumed run needs.

        Raises
        ------
        RunFolderError
            If there is no saved state, or none that is whole, or a later version wrote it.
        """
        saved = self.read_state()
        if saved.note:
            _LOGGER.warning(saved.note)
        arrays = {k: a for k, a in saved.arrays.items() if not k.startswith(f"{RESUME}/")}
        return arrays, {k: v for k, v in saved.meta.items() if k != RESUME}

    def read_state(self) -> SavedState:
        """Read all of the newest whole state; raises as ``load_state``."""
        return read_state(self.path / "state")

    def put_state_right(self) -> None:
        """Before saving goes on: a damaged newest state makes way for the one that is used."""
        put_right(self.path / "state")

    @property
    def has_state(self) -> bool:
        """Whether anything has been saved, whole or not."""
        return any((self.path / "state").glob("*.safetensors"))

    @property
    def has_result(self) -> bool:
        """Whether the run has finished."""
        return (self.path / "result.json").is_file()

    def read_environment(self) -> dict[str, Any]:
        """Read what the run was begun with, see ``describe_environment``."""
        return read_json(self.path / "environment.json")


def check_free(path: Path) -> None:
    """Check that a new run may use this folder; a log left by a failed start is no obstacle.

    Raises
    ------
    RunFolderError
        If the path is a file, or a folder that holds another run or anything else.
    """
    with writing(path):
        if not path.exists():
            return
        if not path.is_dir():
            raise RunFolderError(f"{path} is a file, not a folder. Choose another --out.")
        held = {entry.name for entry in path.iterdir()} - {LOG_NAME, LOCK_NAME}
    if "config.json" in held:
        config = read_json(path / "config.json")
        what = f"method {config.get('method')}, preset {config.get('preset')}"
        done = "finished" if "result.json" in held else "unfinished: --resume goes on with it"
        raise RunFolderError(
            f"{path} already holds another run ({what}, {done}). Choose another --out, or "
            "replace it with --force."
        )
    if held:
        raise RunFolderError(
            f"{path} is not empty and holds no run ({', '.join(sorted(held)[:3])}). "
            "Choose another --out."
        )


def run_folders(paths: Iterable[Path]) -> list[Path]:
    """Run folders, finished or not, among the paths and, one level down, inside them.

    Raises
    ------
    RunFolderError
        If a path holds no run.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else []
        below = [folder for folder in inside if not folder.name.startswith(".")]
        runs = [f for f in (path, *below) if any((f / name).is_file() for name in _OF_A_RUN)]
        if not runs:
            raise RunFolderError(
                f"{path} holds no run: there is neither {' nor '.join(_OF_A_RUN)} in it or one "
                "level below. Name a run's folder; `make run` makes some in runs/mini."
            )
        found += runs
    return list(dict.fromkeys(found))


def how_to_go_on(path: Path, deployed: bool = False) -> str:
    """Say how far a run that has stopped was saved, and how to go on with it; empty if it cannot.

    Parameters
    ----------
    path : Path
        Where its folder is, if it came so far.
    deployed : bool
        Whether it may be a deployment's, which is resumed by ``flwr run``.
    """
    if not (path / "config.json").is_file() or (path / "result.json").is_file():
        return ""
    go_on = f"`fcit run --resume {shlex.quote(str(path))}`"
    if deployed:
        go_on += f" (a deployment: the same `flwr run` with resume='{path}' instead of out)"
    state = path / "state"
    if not (state / NEWEST).is_file() and not (state / PREVIOUS).is_file():
        return f"No round had been saved; {go_on} begins it anew."
    try:
        meta = read_json(state / "round.json")
        step = ", evaluated" if meta.get("step") == "evaluated" else ""
        place = f"Saved up to stage {meta['stage']}, round {meta['round']}{step}"
    except (RunFolderError, KeyError):  # it is for reading only: the state is beside it
        place = "The last steps are saved"
    return f"{place}; go on with {go_on}."


@contextmanager
def replacing(path: Path) -> Iterator[None]:
    """Make way for a new run, and delete the old one only if the new one has begun.

    Until then the old run waits under a hidden name beside its own. It comes back if the new one
    ends before its folder is made, with the log that Flower may have left by then.

    Raises
    ------
    RunFolderError
        If the folder is not recognisably a run's, or holds anything else, or its run is going on,
        or it cannot be moved: nothing is changed then.
    """
    aside = path.with_name(f".{path.name}.replaced")
    with writing(path):
        if aside.exists():  # a run was killed in here
            _settle(path, aside)
        old = _holds_run(path)
        if old:
            check_unlocked(path)
            path.rename(aside)
    try:
        yield
    finally:
        if old:
            with writing(path):
                _settle(path, aside)


def _settle(path: Path, aside: Path) -> None:
    """Delete the run that was put aside if there is a new one, and bring it back otherwise."""
    if (path / "config.json").exists():
        shutil.rmtree(aside)
        return
    for entry in path.iterdir() if path.exists() else ():
        if entry.name == LOG_NAME:
            entry.replace(aside / LOG_NAME)
        elif _is_own(entry.name):
            entry.unlink()
    if path.exists():
        path.rmdir()
    aside.rename(path)


def _is_own(name: str) -> bool:
    return name in _NAMES or name.endswith(".part")


def _holds_run(path: Path) -> bool:
    """Whether there is a run in this folder; raises ``RunFolderError`` if it is something else."""
    if not path.exists() and not path.is_symlink():
        return False
    refusal = "so it is not replaced. Choose another --out."
    if path.is_symlink() or not path.is_dir():
        raise RunFolderError(f"{path} is not a folder, {refusal}")
    held = {entry.name for entry in path.iterdir()}
    foreign = sorted(name for name in held if not _is_own(name))
    if foreign:
        raise RunFolderError(
            f"{path} holds files that are not a run's ({', '.join(foreign[:3])}), {refusal}"
        )
    if held <= {LOG_NAME}:
        return False
    if "config.json" not in held or not {"method", "preset"} <= set(
        read_json(path / "config.json")
    ):
        raise RunFolderError(f"{path} does not hold a run's configuration, {refusal}")
    return True
