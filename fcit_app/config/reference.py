"""The reference of all settings, as a page: ``python -m fcit_app.config.reference``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from fcit_app.config.presets import PRESETS
from fcit_app.config.schema import RunConfig, Scalar, field_descriptions, key_of

PAGE = Path("docs") / "settings.md"
"""Below the source's top folder."""

SHOWN = ("mini", "paper-task-hom")
"""Presets that have a column each; of the others the page says what they change."""

_HEAD = """# All settings

Written by `python -m fcit_app.config.reference` from the schema and the presets, never by hand.
A key is given as `fcit run --set key=value` or in Flower's `--run-config`; what is not given comes
from the preset. –: nothing.
"""


def settings_page() -> str:
    """Make the page: a table for each group of keys, what it means above it, then the presets."""
    parts = [_HEAD]
    for title, text, keys in _groups():
        parts += [f"## {title}\n", f"{text}\n", _table(keys)]
    parts += ["## Other presets\n", *(_differences(name) for name in PRESETS if name not in SHOWN)]
    return "\n".join(parts)


def _groups() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Title, meaning and keys (with what is allowed) of the run's own settings and each group."""
    allowed = field_descriptions()
    own = {key: text for key, text in allowed.items() if key in _own_keys()}
    yield "The run", _meaning(RunConfig), own
    for name, field in RunConfig.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            key = key_of(name, field)
            yield f"`{key}`", _meaning(group), field_descriptions(group, f"{key}.")


def _own_keys() -> set[str]:
    fields = RunConfig.model_fields.items()
    return {
        key_of(name, field)
        for name, field in fields
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
    }


def _meaning(group: type[BaseModel]) -> str:
    return (inspect.getdoc(group) or "").replace("``", "`")


def _table(keys: dict[str, str]) -> str:
    lines = [
        "| key | allowed | " + " | ".join(f"`{name}`" for name in SHOWN) + " |",
        "|---|---|" + "---|" * len(SHOWN),
    ]
    for key, allowed in keys.items():
        values = " | ".join(_value(PRESETS[name].get(key, name)) for name in SHOWN)
        lines.append(f"| `{key}` | {allowed.replace('|', chr(92) + '|')} | {values} |")
    return "\n".join(lines) + "\n"


def _differences(name: str) -> str:
    nearest = next(shown for shown in SHOWN if shown.partition("-")[0] == name.partition("-")[0])
    base = PRESETS[nearest]
    changed = [f"`{k}` {_value(v)}" for k, v in PRESETS[name].items() if base[k] != v]
    return f"- `{name}` is `{nearest}` with {', '.join(changed)}."


def _value(value: Scalar) -> str:
    """Show a value as it is typed; nothing as a dash."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`" if text else "–"


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    (root / PAGE).write_text(settings_page() + "\n", encoding="utf-8")
    sys.stdout.write(f"{root / PAGE} is written.\n")
