"""The page of all settings says what the schema and the presets say."""

from __future__ import annotations

from pathlib import Path

from fcit_app.config.presets import PRESETS
from fcit_app.config.reference import PAGE, settings_page
from fcit_app.config.schema import KEYS

ROOT = Path(__file__).parents[2]


def test_the_page_is_current():
    written = (ROOT / PAGE).read_text(encoding="utf-8")
    assert written.rstrip() == settings_page().rstrip(), "run: python -m fcit_app.config.reference"


def test_every_key_and_preset_has_its_place():
    page = settings_page()
    assert [key for key in KEYS if page.count(f"| `{key}` |") != 1] == []
    assert all(f"`{name}`" in page for name in PRESETS)
    assert "| `beta` | a number above 0 | `1.0` | `1.0` |" in page
    assert "- `mini-het` is `mini` with `scenario` `het`, `clients-per-round` `5`" in page
