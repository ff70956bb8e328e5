"""The skill table chooses the base that ships."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fcit_app.errors import ModelError
from fcit_app.model.weights import mini_path
from fcit_app.pretrain.choose import GATES, choose, main, missed_gates, read_skills, table


def _base(folder: Path, seed: int, accuracy: float, **changed: float) -> Path:
    folder.mkdir()
    skills = {skill: {"accuracy": accuracy, "blind": 10.0} for skill in GATES}
    for name, value in changed.items():
        skills[name]["accuracy"] = value
    (folder / "skills.json").write_text(json.dumps({"seed": seed, "skills": skills}))
    (folder / "model.safetensors").write_bytes(bytes([seed]))
    return folder


def test_the_best_mean_among_those_that_pass_every_gate_ships(tmp_path: Path) -> None:
    good = _base(tmp_path / "a", 1, 96)
    better_but_cannot_read = _base(tmp_path / "b", 2, 100, read=94)
    assert choose([better_but_cannot_read, good]) == good
    main([good, better_but_cannot_read], tmp_path / "mini", tmp_path / "page.md")
    assert (tmp_path / "mini" / "model.safetensors").read_bytes() == b"\x01"
    assert "Shipped: seed 1" in (tmp_path / "page.md").read_text()


def test_no_base_ships_below_a_gate(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="misses read, compare"):
        choose([_base(tmp_path / "a", 1, 99, read=50, compare=94)])
    with pytest.raises(ModelError, match=r"no skills\.json"):
        choose([tmp_path])


def test_the_shipped_base_is_small_and_passes_its_gates() -> None:
    folder = mini_path()
    page = read_skills(folder)
    assert missed_gates(page) == []
    assert (folder / "model.safetensors").stat().st_size <= 8 * 2**20
    assert all(skill in table({"shipped": page}) for skill in GATES)
    # What is seen is not guessed: every gated skill is far above the same question's blind score.
    for skill in GATES:
        found = page["skills"][skill]
        assert found["accuracy"] - found["blind"] >= 25, skill
