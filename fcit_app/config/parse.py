"""From Flower's flat scalars to a ``RunConfig`` and back; all problems in one ``ConfigError``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from fcit_app.config.methods import REFERENCES
from fcit_app.config.nearest import nearest
from fcit_app.config.presets import DEFAULT_PRESET, PRESETS
from fcit_app.config.schema import KEYS, RunConfig, Scalar, field_descriptions, key_of
from fcit_app.data.catalogue import CAPABILITIES, REST, TASK_NAMES, is_private
from fcit_app.errors import ConfigError

PRESET_VALUE = "preset"
"""As a key's value: take what the preset says."""

_ALLOWED = field_descriptions()
_CHOICES: dict[str, tuple[str, ...]] = {
    key: tuple(text.removeprefix("one of ").split(", "))
    for key, text in _ALLOWED.items()
    if text.startswith("one of ")
}
_GROUPS = frozenset(key.partition(".")[0] for key in KEYS) - frozenset(KEYS)

Check = Callable[[Mapping[str, Scalar]], Iterable[str]]
"""From the flat values, without the keys already known to be wrong, to further problems."""


def parse(flat: Mapping[str, Scalar], checks: Iterable[Check] = ()) -> RunConfig:
    """Build the configuration of a run from flat dotted keys.

    Parameters
    ----------
    flat : Mapping[str, bool | int | float | str]
        Keys of ``schema.KEYS``; strings are converted to the field's type. A key that is absent,
        or whose value is the string ``"preset"``, takes the preset's value.
    checks : Iterable[Check]
        What only other packages can judge (the aggregator, which is Flower's); their problems are
        reported together with the others.

    Returns
    -------
    RunConfig
        Complete and checked; an empty ``out`` has become ``resume`` or ``runs/<preset>/<method>``.

    Raises
    ------
    ConfigError
        With one entry in ``problems`` for each unknown key and each wrong value.
    """
    problems = [_unknown_key(key) for key in flat if key not in KEYS]
    preset = flat.get("preset", PRESET_VALUE)
    preset = DEFAULT_PRESET if preset == PRESET_VALUE else preset
    if preset not in PRESETS:
        problems.append(_wrong("preset", preset, "one of " + ", ".join(PRESETS), tuple(PRESETS)))
    given = {k: v for k, v in flat.items() if k in KEYS and k != "preset" and v != PRESET_VALUE}
    base = PRESETS[str(preset) if preset in PRESETS else DEFAULT_PRESET]
    values: dict[str, Any] = {**base, **given, "preset": str(preset)}
    for key in ("tasks", "evaluate.unseen"):
        values[key] = _names(values[key])
    if values["out"] == "":
        values["out"] = values["resume"]  # a run goes on in its own folder
    if values["out"] == "":
        values["out"] = f"runs/{preset}/{values['method']}"
    wrong: set[str] = set()
    try:
        config = RunConfig.model_validate(_nest(values))
    except ValidationError as error:
        problems += [_explain(entry, values) for entry in error.errors()]
        wrong = {_key(entry) for entry in error.errors()}
        # The rest is sound and can be judged further.
        sound = {k: base[k] for k in wrong} | ({"out": "out"} if "out" in wrong else {})
        config = RunConfig.model_validate(_nest(values | sound))
    for key, about in (("tasks", _check_tasks(values)), ("evaluate.unseen", _check_unseen(values))):
        problems += about
        wrong |= {key} if about else set()
    problems += _check_resume(values)
    wrong |= {"preset"} if preset not in PRESETS else set()
    judged = {k: v for k, v in flatten(config).items() if k not in wrong}
    problems += [problem for check in checks for problem in check(judged)]
    if problems:
        raise ConfigError(problems)
    return config


def flatten(config: RunConfig) -> dict[str, Scalar]:
    """Flat dotted keys and scalars of a configuration, such that ``parse(flatten(c)) == c``."""
    return _flatten(config, "")


def parse_assignments(assignments: Iterable[str]) -> dict[str, Scalar]:
    """Read ``key=value`` texts of the command line; ``parse`` converts the values.

    Raises
    ------
    ConfigError
        If a text has no ``=`` or no key, or a key is given twice.
    """
    found: dict[str, Scalar] = {}
    problems: list[str] = []
    for text in assignments:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            problems.append(f"'{text}' is not an assignment. Write it as key=value.")
        elif key in found:
            problems.append(f"{key}: given twice ('{found[key]}', '{value}'). Keep one of them.")
        else:
            found[key] = value
    if problems:
        raise ConfigError(problems)
    return found


def _names(value: Scalar) -> tuple[str, ...]:
    return tuple(name.strip() for name in str(value).split(",")) if value != "" else ()


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        group, _, name = key.partition(".")
        if group in _GROUPS:
            nested.setdefault(group, {})[name] = value
        else:
            nested[key] = value
    return nested


def _flatten(group: BaseModel, prefix: str) -> dict[str, Scalar]:
    flat: dict[str, Scalar] = {}
    for name, field in type(group).model_fields.items():
        key, value = prefix + key_of(name, field), getattr(group, name)
        if isinstance(value, BaseModel):
            flat |= _flatten(value, f"{key}.")
        else:
            flat[key] = ",".join(value) if isinstance(value, tuple) else value
    return flat


def _check_tasks(values: Mapping[str, Any]) -> list[str]:
    """Check names and duplicates of ``tasks`` against the setting."""
    allowed = CAPABILITIES if values["setting"] == "capability" else TASK_NAMES
    names = values["tasks"]
    private = tuple(name for name in names if is_private(name))
    return _check_names("tasks", names, (*allowed, *private), "stage", ", or private/NAME")


def _check_unseen(values: Mapping[str, Any]) -> list[str]:
    """Check names and duplicates of ``evaluate.unseen``."""
    names = values["evaluate.unseen"]
    if names == (REST,):
        return []
    return _check_names("evaluate.unseen", names, TASK_NAMES, "task", f", or {REST} alone")


def _check_resume(values: Mapping[str, Any]) -> list[str]:
    """Check that a run that goes on stays in its folder, and is of a kind that can."""
    if not values["resume"]:
        return []
    problems = []
    if values["out"] != values["resume"]:
        problems.append(
            f"out: {values['out']!r} is not allowed with resume = {values['resume']!r}; a run goes "
            "on in its own folder. Leave out one of the two."
        )
    if values["method"] in REFERENCES:
        problems.append(
            f"resume: a run of method {values['method']} is made in one piece and cannot go on. "
            "Begin it anew with --force."
        )
    return problems


def _check_names(
    key: str, names: tuple[str, ...], allowed: tuple[str, ...], noun: str, other: str = ""
) -> list[str]:
    problems = [
        _wrong(key, name, "names of " + ", ".join(allowed) + other, allowed)
        for name in dict.fromkeys(names)
        if name not in allowed
    ]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        problems.append(f"{key}: {', '.join(twice)} given more than once. Name each {noun} once.")
    return problems


def _explain(error: Any, values: Mapping[str, Any]) -> str:
    """Rewrite one of pydantic's errors in our words."""
    key = _key(error)
    return _wrong(key, values.get(key), _ALLOWED.get(key, ""), _CHOICES.get(key, ()))


def _key(error: Any) -> str:
    return ".".join(str(part) for part in error["loc"])


def _wrong(key: str, value: object, allowed: str, choices: Sequence[str] = ()) -> str:
    return f"{key}: {value!r} is not allowed; allowed: {allowed}.{nearest(str(value), choices)}"


def _unknown_key(key: str) -> str:
    hint = nearest(key, KEYS) or nearest(key, [k.rpartition(".")[2] for k in KEYS], KEYS)
    return f"{key}: there is no such key.{hint or ' Keys are: ' + ', '.join(KEYS) + '.'}"
