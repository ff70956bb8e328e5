"""A cell of a table: one real ``fcit run``, kept once it is finished."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fcit_app.config import flatten, parse
from fcit_app.errors import ConfigError
from fcit_app.runs import RunFolder, RunResult, read_result

RUNS = Path("runs/table")
RECORDS = Path(__file__).parent / "results"
"""What is kept of finished runs, in the repository: a few kilobytes each."""

_KEPT = ("environment.json", "config.json", "result.json")
_NO_FILE_NAME = re.compile(r"[^A-Za-z0-9.,=+_-]+")
_ALWAYS = ("preset", "method")


@dataclass(frozen=True)
class Cell:
    """One configuration: what it changes of its preset, as sorted pairs of key and value.

    Cells of different tables that come to the same configuration are the same run in the same
    folder.
    """

    changes: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, *changes: Mapping[str, object]) -> Cell:
        """Make a cell of changes, later ones over earlier ones; what the preset says is left out.

        Raises
        ------
        ConfigError
            If a change is not allowed.
        """
        given = {"preset": "mini"}
        for part in changes:
            given |= {key: str(value) for key, value in part.items()}
        wanted, usual = flatten(parse(given)), flatten(parse({"preset": given["preset"]}))
        kept = {k: v for k, v in given.items() if k in _ALWAYS or wanted[k] != usual[k]}
        return cls(tuple(sorted(kept.items())))

    def __getitem__(self, key: str) -> str:
        """Value of a key that it changes, or of its preset's."""
        return str(flatten(parse(dict(self.changes)))[key])

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        return RUNS / self.name

    @property
    def record(self) -> Path:
        """Where its result is kept."""
        return RECORDS / self.name

    @property
    def name(self) -> Path:
        """Preset, method and what it changes."""
        named = dict(self.changes)
        parts = [f"{key}={value}" for key, value in named.items() if key not in _ALWAYS]
        name = _NO_FILE_NAME.sub("_", ",".join(parts)) or "as-it-is"
        return Path(named["preset"]) / named["method"] / name

    @property
    def command(self) -> list[str]:
        """The command that makes it."""
        named = dict(self.changes)
        given = ["--preset", named.pop("preset"), "--method", named.pop("method")]
        sets = [part for key, value in named.items() for part in ("--set", f"{key}={value}")]
        return ["fcit", "run", *given, *sets, "--out", str(self.folder), "--force"]

    def is_done(self) -> bool:
        """Whether the result of a run of the same configuration is kept."""
        if not (self.record / "result.json").is_file():
            return False
        wanted = parse(dict(self.changes))
        try:
            stored = parse(RunFolder(self.record).read_config())
        except ConfigError:  # of a version with other keys
            return False
        return stored.model_copy(update={"out": ""}) == wanted.model_copy(update={"out": ""})

    def result(self) -> RunResult:
        """Read its result; run it first unless it is finished.

        Raises
        ------
        subprocess.CalledProcessError
            If the run fails; it has said why.
        """
        if not self.is_done():
            program = [str(Path(sys.executable).parent / "fcit"), *self.command[1:]]
            subprocess.run(program, check=True)
            self._keep()
        return read_result(self.record)

    def _keep(self) -> None:
        """Copy the run's small files to its record; the result, which makes it one, comes last."""
        self.record.mkdir(parents=True, exist_ok=True)
        for file in _KEPT:
            content = json.loads((self.folder / file).read_text("utf-8"))
            if file == "config.json":
                content["out"] = self.folder.as_posix()  # not where it lay on somebody's machine
            (self.record / file).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
