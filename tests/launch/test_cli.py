"""`fcit run`: true exit codes, errors without a trace, only JSON on standard output."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

import fcit_app.launch
from fcit_app import cli
from fcit_app.config import parse
from fcit_app.runs import RunFolder, make_result

ROOT = Path(__file__).parents[2]


def fcit(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fcit", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.fixture(autouse=True)
def _weights(tmp_path, monkeypatch):
    """Weights enough for the command line, which only looks whether they are there."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.safetensors").touch()
    monkeypatch.setenv("FCIT_MINI_WEIGHTS", str(folder))


@pytest.fixture
def federation(monkeypatch):
    """Stand in for Flower: write the run folder that a run would leave, and note the call."""
    calls: list[dict] = []

    def run_app(app_dir, run_config, clients, out, console, parallel=None, code=0):
        calls.append({"config": parse(run_config), "clients": clients, "parallel": parallel})
        folder = RunFolder.create(out, run_config, {})
        folder.write_result(make_result(calls[-1]["config"], tasks=["dvqa"], last=50.0))
        return calls[-1].setdefault("code", 0)

    monkeypatch.setattr(fcit_app.launch, "run_app", run_app)
    return calls


@pytest.fixture
def reference(monkeypatch):
    def run_reference(config, folder):
        folder.ledger.record("run-finished", last=1.0)
        folder.write_result(make_result(config, tasks=["dvqa"], last=10.0))

    module = types.SimpleNamespace(run_reference=run_reference)
    monkeypatch.setitem(sys.modules, "fcit_app.reference", module)


def test_wrong_settings_answer_at_once_and_load_nothing_heavy():
    code = (
        "import sys; from fcit_app import cli\n"
        "sys.argv = ['fcit', 'run', '--set', 'train.rnk=3', '--method', 'disko']\n"
        "try: cli.main()\n"
        "except SystemExit as end:\n"
        "    print(end.code, sorted({'torch', 'flwr', 'transformers', 'ray'} & set(sys.modules)))"
    )
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.stdout == "2 []\n"
    assert "Did you mean 'train.rank'?" in done.stderr
    assert "Did you mean 'disco'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < 20  # about one on an idle machine


def test_a_federated_run(federation, monkeypatch, tmp_path, capsys):
    out = tmp_path / "r"
    assert fcit(monkeypatch, "run", "--out", str(out), "--set", "seed=3", "--clients", "4") == 0
    (call,) = federation
    assert (call["config"].seed, call["clients"], call["parallel"]) == (3, 4, 2)
    assert call["config"].out == str(out)
    printed = capsys.readouterr()
    assert "disco · Last 50.0" in printed.out
    assert f"Run folder: {out}" in printed.out


def test_json_is_all_there_is_on_standard_output(federation, monkeypatch, tmp_path, capsys):
    assert fcit(monkeypatch, "run", "--out", str(tmp_path / "r"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["last"] == 50.0


def test_the_default_folder_is_below_the_working_directory(federation, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert fcit(monkeypatch, "run", "--preset", "mini-smoke") == 0
    assert (tmp_path / "runs" / "mini-smoke" / "disco" / "result.json").is_file()


def test_a_taken_folder_is_refused_and_replaced_by_force(federation, monkeypatch, tmp_path, capsys):
    out = str(tmp_path / "r")
    assert fcit(monkeypatch, "run", "--out", out) == 0
    assert fcit(monkeypatch, "run", "--out", out, "--set", "seed=1") == 2
    assert "--force" in capsys.readouterr().err
    assert len(federation) == 1
    assert fcit(monkeypatch, "run", "--out", out, "--set", "seed=1", "--force") == 0
    assert RunFolder(tmp_path / "r").read_config()["seed"] == 1


def test_a_wrong_setting_does_not_cost_the_old_run(federation, monkeypatch, tmp_path):
    out = str(tmp_path / "r")
    assert fcit(monkeypatch, "run", "--out", out) == 0
    assert fcit(monkeypatch, "run", "--out", out, "--force", "--set", "beta=0") == 2
    assert fcit(monkeypatch, "run", "--out", out, "--force", "--clients", "1") == 2
    assert (tmp_path / "r" / "result.json").is_file()


def test_missing_weights_are_told_before_anything_starts(federation, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FCIT_MINI_WEIGHTS", str(tmp_path / "nowhere"))
    assert fcit(monkeypatch, "run", "--out", str(tmp_path / "r")) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not federation
    assert not (tmp_path / "r").exists()


def test_too_few_clients(federation, monkeypatch, tmp_path, capsys):
    assert fcit(monkeypatch, "run", "--out", str(tmp_path / "r"), "--clients", "1") == 2
    assert "--clients 2" in " ".join(capsys.readouterr().err.split())
    assert not federation
    assert not (tmp_path / "r").exists()


def test_a_setting_given_twice(federation, monkeypatch, tmp_path, capsys):
    assert fcit(monkeypatch, "run", "--method", "disco", "--set", "method=blind") == 2
    assert "--set (blind)" in capsys.readouterr().err


@pytest.mark.parametrize("code", [1, 130])
def test_exit_codes_of_the_run_are_passed_on(monkeypatch, tmp_path, code):
    monkeypatch.setattr(fcit_app.launch, "run_app", lambda *a, **k: code)
    assert fcit(monkeypatch, "run", "--out", str(tmp_path / "r")) == code


def test_a_run_without_result_is_no_success(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fcit_app.launch, "run_app", lambda *a, **k: 0)
    assert fcit(monkeypatch, "run", "--out", str(tmp_path / "r")) == 2
    assert "has not finished" in capsys.readouterr().err


def test_references_run_in_this_process(reference, monkeypatch, tmp_path, capsys):
    out = tmp_path / "r"
    arguments = ["run", "--method", "zero-shot", "--out", str(out), "--clients", "1", "--json"]
    assert fcit(monkeypatch, *arguments) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert (result["method"], result["last"], result["aggregator"]) == ("zero-shot", 10.0, None)
    assert "finished · Last 1.0" in printed.err
    assert RunFolder(out).read_config()["method"] == "zero-shot"
