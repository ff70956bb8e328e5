"""`fcit route`: the same weights as `fcit ask`, without the base model."""

from __future__ import annotations

import json
import sys

import pytest
from tiny_llava import QUESTIONS, toy_picture

from fcit_app import cli
from fcit_app.evaluate import route as module
from fcit_app.evaluate.question import ask
from fcit_app.evaluate.saved_run import open_saved_run


def fcit(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["fcit", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def test_weights_are_those_of_an_answer(saved_disco, monkeypatch, tmp_path, capsys):
    picture = tmp_path / "picture.png"
    toy_picture(1).save(picture)
    run = open_saved_run(saved_disco.path)
    told = ask(run, picture, QUESTIONS[0]).weights
    monkeypatch.setattr(module, "load_base", lambda _: pytest.fail("the base model was loaded"))
    assert fcit(monkeypatch, "route", run.path, "--text", QUESTIONS[0], "--json") == 0
    found = json.loads(capsys.readouterr().out)["subspaces"]
    assert {entry["id"]: entry["weight"] for entry in found} == told
    assert sorted(found, key=lambda entry: -entry["cosine"]) == found
    assert all(entry["tasks"] for entry in found)


def test_all_that_is_wrong_is_told_at_once(saved_disco, monkeypatch, capsys):
    assert fcit(monkeypatch, "route", saved_disco.path, "--image", "x.png") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "--image: this run's tokens are made of text alone" in told
    assert "--text: is empty" in told
