"""`fcit tau`: the run's own threshold gives the run's own subspaces back."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest

from fcit_app import cli
from fcit_app.commands.tau import _rounds
from fcit_app.evaluate.saved_run import open_saved_run
from fcit_app.identity.replay import replay
from fcit_app.runs.token_book import TokenBook


def fcit(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["fcit", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def test_the_runs_own_tokens_come_back_to_the_bit(saved_disco):
    run = open_saved_run(saved_disco.path)
    rounds, _ = _rounds(TokenBook(run.path))
    found = replay(rounds, run.config.identity.tau).tokens
    assert list(found) == [subspace.identifier for subspace in run.bank.subspaces]
    for subspace in run.bank.subspaces:
        assert np.array_equal(found[subspace.identifier].total, subspace.token.total)
        assert found[subspace.identifier].count == subspace.token.count


def test_intervals_and_a_plot(saved_disco, monkeypatch, tmp_path, capsys):
    plot = tmp_path / "tau.png"
    assert fcit(monkeypatch, "tau", saved_disco.path, "--out", plot, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert plot.read_bytes().startswith(b"\x89PNG")
    (here,) = [e for e in told["intervals"] if e["above"] < told["tau"] <= e["up-to"]]
    assert here["subspaces"] == 2 and here["together"] == []
    assert told["intervals"][-1]["together"] == [["figureqa", "imagenet-r"]]
    assert fcit(monkeypatch, "tau", saved_disco.path, "--out", plot) == 0
    assert "this run's" in capsys.readouterr().out


def test_a_run_without_kept_tokens(saved_disco, monkeypatch, tmp_path, capsys):
    bare = shutil.copytree(saved_disco.path, tmp_path / "bare")
    shutil.rmtree(bare / "tokens")
    assert fcit(monkeypatch, "tau", bare) == 2
    assert "holds no identity tokens" in " ".join(capsys.readouterr().err.split())
