"""`fcit scenario`: a drawing, JSON, and exit code 2 for what is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fcit_app import cli

EXAMPLE = str(Path(__file__).parents[2] / "docs" / "scenarios" / "example.toml")


def fcit(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fcit", "scenario", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def test_the_table_marks_what_is_new(monkeypatch, capsys):
    assert fcit(monkeypatch, "het", "--clients-per-round", "5", "--clients", "50") == 0
    printed = capsys.readouterr().out
    assert all(f"slot {slot}" in printed for slot in range(5))
    assert printed.count("clevr-math ★") == 1
    assert "clevr-math ↺" in printed
    assert printed.count("★") == 9 + 1  # super-clevr is new in two slots; the legend
    assert fcit(monkeypatch, EXAMPLE) == 0
    printed = capsys.readouterr().out
    assert all(title in printed for title in ("clients 0-1", "client 2", "others", "2 winter"))
    assert fcit(monkeypatch, "hom", "--setting", "capability") == 0
    assert "everyone" in capsys.readouterr().out


def test_json_is_all_that_is_printed(monkeypatch, capsys):
    assert fcit(monkeypatch, EXAMPLE, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["scenario"], told["setting"]) == ("example.toml", "task")
    assert told["stages"][1] == {
        "stage": 2,
        "name": "winter",
        "clients": {"0": "super-clevr", "1": "super-clevr", "2": "dvqa"},
        "others": "clevr-math",
        "tasks": ["super-clevr", "dvqa", "clevr-math"],
        "new": ["super-clevr", "dvqa"],
        "returning": ["clevr-math"],
    }


def test_the_picture(monkeypatch, capsys, tmp_path):
    file = tmp_path / "het.svg"
    assert fcit(monkeypatch, "het", "--setting", "capability", "--out", str(file)) == 0
    assert str(file) in capsys.readouterr().out
    assert file.read_text().lstrip().startswith("<?xml")
    assert fcit(monkeypatch, "het", "--out", str(tmp_path / "het.txt")) == 2
    assert "a file ending in .png, .svg, .pdf" in capsys.readouterr().err


def test_what_is_wrong_is_told_with_exit_code_2(monkeypatch, capsys, tmp_path):
    file = tmp_path / "s.toml"
    file.write_text('[[stages]]\nslots = ["figureq", "dvq"]')
    assert fcit(monkeypatch, str(file)) == 2
    printed = capsys.readouterr().err
    assert "2 problems" in printed
    assert "Did you mean 'figureqa'?" in printed
    assert "Did you mean 'dvqa'?" in printed
    assert fcit(monkeypatch, "het", "--clients-per-round", "3") == 2
    assert "clients-per-round: 3 is not allowed" in capsys.readouterr().err
    assert fcit(monkeypatch, "hett", "--setting", "tusk") == 2
    printed = capsys.readouterr().err
    assert "Did you mean 'het'?" in printed
    assert "Did you mean 'task'?" in printed
