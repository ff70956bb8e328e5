"""A scenario by its name, or from a file: every mistake in a file is told at once.

TOML or JSON: a list ``stages``; each stage has one of ``everyone`` (a lesson), ``slots`` (a lesson
for each participant of a round, in order) and ``clients`` (lessons by client: ``"3"``, ``"0-4"`` or
``"others"``), and may have a ``name``. A lesson is the name of a task, or a list of such names; in
the capability setting, of a capability; in both, a task of one's own, ``private/<name>``. See
``docs/scenarios.md``.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fcit_app.data.catalogue import (
    CAPABILITIES,
    TASK_NAMES,
    Setting,
    closest,
    is_private,
    stages,
)
from fcit_app.data.lesson import Lesson
from fcit_app.data.scenario import FILE_SUFFIXES, Scenario, Timetable, het, hom
from fcit_app.errors import ConfigError

_WAYS = ("everyone", "slots", "clients")
_STAGE_KEYS = ("name", *_WAYS)
_OTHERS = "others"
_RANGE = re.compile(r"(?P<first>\d+)(\s*-\s*(?P<last>\d+))?")


def load_scenario(name: str, setting: Setting, order: Sequence[str] = ()) -> Scenario:
    """Give a scenario by its name or from its file.

    Parameters
    ----------
    name : str
        ``hom``, ``het``, or the path of a ``.toml`` or ``.json`` file.
    setting : {"task", "capability"}
        What lessons are made of.
    order : Sequence[str]
        The stages of ``hom``; the published order if empty.

    Raises
    ------
    ConfigError
        If a file is missing or wrong; tells all that is wrong with it.
    """
    if name == "hom":
        return hom(order or stages(setting))
    if name == "het":
        return het(setting)
    return read_scenario(Path(name).expanduser(), setting)


def read_scenario(path: Path, setting: Setting) -> Scenario:
    """Read and check a scenario file.

    Parameters
    ----------
    path : Path
        Ends in ``.toml`` or ``.json``.
    setting : {"task", "capability"}
        Says which names lessons are made of.

    Returns
    -------
    Scenario
        Named after the file.

    Raises
    ------
    ConfigError
        With one problem for each mistake: a file that cannot be read, unknown keys, names that are
        no tasks or capabilities, stages without lessons or with several kinds of them.
    """
    reader = _Reader(path, setting)
    stages = reader.stages(_load(path))
    if reader.problems:
        raise ConfigError(reader.problems)
    return Scenario(path.name, stages)


def _load(path: Path) -> object:
    if path.suffix not in FILE_SUFFIXES:
        raise ConfigError(
            f"scenario: '{path}' is not allowed; allowed: hom, het, FILE.toml, FILE.json."
        )
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"scenario: {path} cannot be read ({error}). Give hom, het or the path of a scenario "
            "file, absolute unless you use `fcit`."
        ) from error
    try:
        if path.suffix == ".toml":
            return tomllib.loads(text)
        return json.loads(text, object_pairs_hook=_without_twins)
    except ValueError as error:
        raise ConfigError(
            f"scenario: {path} is no {path.suffix[1:].upper()}: {error}. Correct the file."
        ) from error


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key given twice, of which JSON would keep the last."""
    keys = [key for key, _ in pairs]
    twice = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
    if twice:
        raise ValueError(f"the key {twice[0]!r} is given twice")
    return dict(pairs)


class _Reader:
    """Turns a file's content into timetables and collects what is wrong with it."""

    def __init__(self, path: Path, setting: Setting) -> None:
        self.problems: list[str] = []
        self._path = path
        self._noun, self._names = (
            ("a capability", CAPABILITIES) if setting == "capability" else ("a task", TASK_NAMES)
        )
        self._others, self._other_setting = (
            (TASK_NAMES, "task") if setting == "capability" else (CAPABILITIES, "capability")
        )

    def stages(self, content: object) -> tuple[Timetable, ...]:
        if not isinstance(content, dict) or not isinstance(content.get("stages"), list):
            self._problem("", "there is no list of stages. Begin each stage with [[stages]].")
            return ()
        self._unknown("", content, ("stages",))
        if not content["stages"]:
            self._problem("", "the list of stages is empty. Begin each stage with [[stages]].")
        stages = tuple(
            self._stage(f"stage {number}", entry)
            for number, entry in enumerate(content["stages"], start=1)
        )
        self._agree(stages)
        return stages

    def _stage(self, where: str, entry: object) -> Timetable:
        if not isinstance(entry, dict):
            self._problem(where, f"{entry!r} is no table of {', '.join(_WAYS)}.")
            return Timetable()
        self._unknown(where, entry, _STAGE_KEYS)
        label = entry.get("name", "")
        if not isinstance(label, str):
            self._problem(where, f"name = {label!r} is not allowed; allowed: a text.")
            label = ""
        ways = [way for way in _WAYS if way in entry]
        if len(ways) != 1:
            self._problem(
                where, f"it has {' and '.join(ways) or 'no lessons'}. Give one of {_either(_WAYS)}."
            )
        slots: tuple[Lesson, ...] = ()
        clients: dict[int, Lesson] = {}
        others: Lesson = ()
        if "everyone" in entry:
            others = self._lesson(f"{where}, everyone", entry["everyone"])
        if "slots" in entry:
            slots = self._slots(where, entry["slots"])
        if "clients" in entry:
            clients, others = self._clients(where, entry["clients"])
        return Timetable(slots, clients, others, label)

    def _slots(self, where: str, entry: object) -> tuple[Lesson, ...]:
        if not isinstance(entry, list) or not entry:
            self._problem(where, f"slots = {entry!r} is not allowed; allowed: a list of lessons.")
            return ()
        return tuple(
            self._lesson(f"{where}, slot {slot}", lesson) for slot, lesson in enumerate(entry)
        )

    def _clients(self, where: str, entry: object) -> tuple[dict[int, Lesson], Lesson]:
        if not isinstance(entry, dict) or not entry:
            self._problem(
                where, f"clients = {entry!r} is not allowed; allowed: a table of lessons."
            )
            return {}, ()
        lessons: dict[int, Lesson] = {}
        others: Lesson = ()
        for key, value in entry.items():
            lesson = self._lesson(f"{where}, clients {key}", value)
            if key == _OTHERS:
                others = lesson
                continue
            for client in self._range(where, key):
                if client in lessons:
                    self._problem(where, f"client {client} is named twice. Name each client once.")
                lessons[client] = lesson
        return lessons, others

    def _range(self, where: str, key: str) -> range:
        found = _RANGE.fullmatch(key.strip())
        last = int(found["last"] or found["first"]) if found else -1
        if not found or last < int(found["first"]):
            self._problem(
                where,
                f"clients {key!r} is not allowed; allowed: a client such as '3' (they count from "
                "0), a range such as '0-4', or 'others'.",
            )
            return range(0)
        return range(int(found["first"]), last + 1)

    def _lesson(self, where: str, entry: object) -> Lesson:
        names = [entry] if isinstance(entry, str) else entry
        if not isinstance(names, list) or not names:
            self._problem(
                where, f"{entry!r} is not allowed; allowed: {self._noun}, or a list of them."
            )
            return ()
        for name in names:
            if not self._knows(name):
                self._problem(where, self._no_such(name))
        sound = tuple(dict.fromkeys(name for name in names if self._knows(name)))
        twice = [name for name in sound if names.count(name) > 1]
        if twice:
            self._problem(where, f"{', '.join(twice)} given more than once. Name each task once.")
        return sound

    def _knows(self, name: object) -> bool:
        return name in self._names or (isinstance(name, str) and is_private(name))

    def _no_such(self, name: object) -> str:
        text = f"{name!r} is not allowed; allowed: {', '.join(self._names)}, or private/NAME."
        if name in self._others:
            return f"{text} With setting={self._other_setting} it would be."
        return text + closest(str(name), self._names)

    def _agree(self, stages: Sequence[Timetable]) -> None:
        """Slots and clients do not mix, and every round has as many slots."""
        sizes = sorted({len(stage.slots) for stage in stages if stage.slots})
        if len(sizes) > 1:
            numbers = " and ".join(str(size) for size in sizes)
            self._problem("", f"stages have {numbers} slots. Give every stage as many.")
        if sizes and any(stage.clients for stage in stages):
            self._problem(
                "", "some stages go by slots, others by clients. Use one of the two in a file."
            )

    def _unknown(self, where: str, table: Mapping[str, object], known: Sequence[str]) -> None:
        for key in table:
            if key not in known:
                self._problem(
                    where,
                    f"there is no key '{key}'; keys are {', '.join(known)}.{closest(key, known)}",
                )

    def _problem(self, where: str, what: str) -> None:
        self.problems.append(f"scenario: {self._path.name}{', ' if where else ''}{where}: {what}")


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
