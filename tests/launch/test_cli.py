"""`fcit run`: true exit codes, errors without a trace, only JSON on standard output."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

import fcit_app.launch
from fcit_app import cli
from fcit_app.config import flatten, parse
from fcit_app.errors import DataError, RunError
from fcit_app.runs import RunFolder, locked, make_result

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

    def run_app(
        app_dir, run_config, clients, out, console, parallel=None, client_gpus=0.0, code=0, **rest
    ):
        calls.append({"config": parse(run_config), "clients": clients, "parallel": parallel})
        folder = RunFolder.create(out, run_config, {})
        folder.write_result(make_result(calls[-1]["config"], tasks=["dvqa"], last=50.0))
        return calls[-1].setdefault("code", 0)

    monkeypatch.setattr(fcit_app.launch, "run_app", run_app)
    return calls


@pytest.fixture
def reference(monkeypatch, tiny_folder):
    """Stand in for a reference; the base that is loaded before is a small one."""
    settings = types.SimpleNamespace(problem=None)

    def run_reference(config, folder):
        if settings.problem:
            raise settings.problem
        folder.ledger.record("run-finished", last=1.0)
        folder.write_result(make_result(config, tasks=["dvqa"], last=10.0))

    module = types.SimpleNamespace(run_reference=run_reference)
    monkeypatch.setitem(sys.modules, "fcit_app.reference", module)
    settings.arguments = ["run", "--method", "zero-shot", "--set", f"model.name={tiny_folder}"]
    return settings


def test_wrong_settings_answer_at_once_and_load_nothing_heavy():
    code = (
        "import sys; from fcit_app import cli\n"
        "sys.argv = ['fcit', 'run', '--set', 'train.rnk=3', '--method', 'disko', '--set',\n"
        "            'aggregator=fedyogy']\n"
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
    assert "Did you mean 'fedyogi'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < 20  # about one on an idle machine


def test_an_aggregators_problems_come_with_the_others(monkeypatch, tmp_path, capsys):
    arguments = ["aggregator=krum", "aggregator.arguments=malicious=1", "beta=0", "nonsense=1"]
    options = [part for text in arguments for part in ("--set", text)]
    assert fcit(monkeypatch, "run", "--out", str(tmp_path / "r"), *options) == 2
    printed = capsys.readouterr().err
    assert "3 problems in the configuration" in printed
    assert "krum has no argument 'malicious'. Did you mean 'num_malicious_nodes'?" in printed
    assert fcit(monkeypatch, "run", "--set", "aggregator=krum") == 2
    assert "krum needs at least 3 clients a round" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_an_aggregator_with_arguments_reaches_the_run(federation, monkeypatch, tmp_path):
    options = ["--set", "aggregator=fedyogi", "--set", "aggregator.arguments=eta=0.01, tau=1e-3"]
    assert fcit(monkeypatch, "run", "--out", str(tmp_path / "r"), *options) == 0
    (call,) = federation
    assert call["config"].aggregator == "fedyogi"
    assert call["config"].aggregator_arguments == "eta=0.01, tau=1e-3"


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


@pytest.mark.parametrize("problem", [None, RunError("Flower does not start.")])
def test_a_run_that_never_begins_does_not_cost_the_old_one(
    federation, monkeypatch, tmp_path, problem
):
    """As with damaged weights, which only the server finds."""
    out = tmp_path / "r"
    assert fcit(monkeypatch, "run", "--out", str(out)) == 0

    def run_app(*arguments, **settings):
        assert not (out / "ledger.jsonl").exists()  # it would be taken for the new run's
        out.mkdir()
        (out / "flower.log").write_text("damaged")
        if problem:
            raise problem
        return 1

    monkeypatch.setattr(fcit_app.launch, "run_app", run_app)
    assert fcit(monkeypatch, "run", "--out", str(out), "--force") == (2 if problem else 1)
    assert (out / "result.json").is_file()
    assert (out / "flower.log").read_text() == "damaged"


def test_all_problems_are_told_at_once(federation, monkeypatch, tmp_path, capsys):
    wrong = ["model.name=/nope", "identity.encoder=clip:/nope", "train.rank=0", "tasks=imagenet"]
    arguments = [part for assignment in wrong for part in ("--set", assignment)]
    assert fcit(monkeypatch, "run", "--out", str(tmp_path / "r"), *arguments) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "4 problems in the configuration" in told
    assert fcit(monkeypatch, "run", "--set", "beta=0.001", "--clients", "1", *arguments[:4]) == 2
    assert "3 problems in the configuration" in " ".join(capsys.readouterr().err.split())
    assert fcit(monkeypatch, "run", "--set", "beta=0.001", "--clients", "5") == 2
    assert "beta = 0.001 hardly ever" in " ".join(capsys.readouterr().err.split())
    assert not federation


def test_a_folder_that_cannot_be_made_is_told(reference, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").touch()
    out = str(tmp_path / "file" / "run")
    assert fcit(monkeypatch, *reference.arguments, "--out", out) == 2
    assert "cannot be written" in capsys.readouterr().err


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


def stopped_run(path, **changes):
    """A run folder as an interrupted run leaves it, with one saved round of four clients."""
    folder = RunFolder.create(path, flatten(parse({"seed": 3, "out": str(path), **changes})), {})
    place = {"stage": 1, "round": 2, "step": "round"}
    folder.save_state({}, {**place, "resume": {"shares": 4}})
    return folder


def test_a_resumed_run_keeps_its_settings_and_clients(monkeypatch, tmp_path, capsys):
    calls = []

    def run_app(app_dir, run_config, clients, out, console, parallel=None, client_gpus=0.0, **rest):
        calls.append((parse(run_config), clients, out))
        return 130

    monkeypatch.setattr(fcit_app.launch, "run_app", run_app)
    path = tmp_path / "a b"
    stopped_run(path)
    monkeypatch.chdir(tmp_path)
    assert fcit(monkeypatch, "run", "--resume", "a b") == 130
    ((config, clients, out),) = calls
    assert (config.seed, clients, out) == (3, 4, path)
    assert config.out == config.resume == str(path)
    told = capsys.readouterr().err
    assert f"Saved up to stage 1, round 2; go on with `fcit run --resume '{path}'`." in told
    assert fcit(monkeypatch, "run", "--resume", "a b", "--set", "client-timeout=5") == 2
    assert "client-timeout was 600.0 and is 5.0 (harmless)" in capsys.readouterr().err
    arguments = ["run", "--resume", "a b", "--allow", "--set", "client-timeout=5"]
    assert fcit(monkeypatch, *arguments) == 130
    assert calls[-1][0].resume_allow
    assert fcit(monkeypatch, *arguments, "--set", "seed=4") == 2
    assert "seed was 3 and is 4" in capsys.readouterr().err
    assert len(calls) == 2


def test_a_run_that_goes_on_is_not_resumed(federation, monkeypatch, tmp_path, capsys):
    """As when `fcit run` alone was killed, and its simulation works on."""
    folder = stopped_run(tmp_path / "r")
    with locked(folder.path, "run"):
        assert fcit(monkeypatch, "run", "--resume", str(folder.path)) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "is being run by process" in told
    assert "or stop it (a run: `fcit stop`)" in told
    assert not federation


def test_a_finished_run_has_nothing_left_to_do(federation, monkeypatch, tmp_path, capsys):
    out = str(tmp_path / "r")
    assert fcit(monkeypatch, "run", "--out", out) == 0
    assert fcit(monkeypatch, "run", "--resume", out) == 0
    printed = capsys.readouterr()
    assert "nothing left to do" in printed.err
    assert printed.out.count("disco · Last 50.0") == 2
    assert len(federation) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume", "none"], "is not a run folder"),
        (["--resume", "r", "--force"], "Keep one"),
        (["--resume", "r", "--out", "q"], "goes on in its own folder"),
        (["--allow"], "goes with --resume alone"),
    ],
)
def test_what_does_not_go_with_resuming(monkeypatch, tmp_path, capsys, arguments, words):
    stopped_run(tmp_path / "r")
    monkeypatch.chdir(tmp_path)
    assert fcit(monkeypatch, "run", *arguments) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_run_without_result_is_no_success(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fcit_app.launch, "run_app", lambda *a, **k: 0)
    assert fcit(monkeypatch, "run", "--out", str(tmp_path / "r")) == 2
    assert "has not finished" in capsys.readouterr().err


def test_references_run_in_this_process(reference, monkeypatch, tmp_path, capsys):
    out = tmp_path / "r"
    arguments = ["--out", str(out), "--clients", "1", "--json"]
    assert fcit(monkeypatch, *reference.arguments, *arguments) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert (result["method"], result["last"], result["aggregator"]) == ("zero-shot", 10.0, None)
    assert "finished · Last 1.0" in printed.err
    assert RunFolder(out).read_config()["method"] == "zero-shot"
    assert (out / "report.html").is_file()


def test_a_reference_that_fails_is_a_failed_run(reference, monkeypatch, tmp_path, capsys):
    reference.problem = DataError("There are no [samples].")
    out = tmp_path / "r"
    assert fcit(monkeypatch, *reference.arguments, "--out", str(out)) == 1
    told = capsys.readouterr().err
    assert "The run failed" in told
    assert "There are no [samples]." in told
    assert (out / "config.json").is_file()


@pytest.mark.parametrize("what", ["weights", "encoder"])
def test_a_reference_loads_everything_before_it_makes_or_deletes_a_folder(
    reference, monkeypatch, tmp_path, capsys, tiny_folder, what
):
    out = tmp_path / "r"
    assert fcit(monkeypatch, *reference.arguments, "--out", str(out)) == 0
    damaged = shutil.copytree(tiny_folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"nothing")
    change = {"weights": f"model.name={damaged}", "encoder": f"identity.encoder=clip:{damaged}"}
    # One key may be given once: the encoder's case keeps the sound base.
    keep = reference.arguments[:3] if what == "weights" else reference.arguments
    arguments = [*keep, "--set", change[what], "--out"]
    assert fcit(monkeypatch, *arguments, str(out), "--force") == 2
    assert "damaged" in capsys.readouterr().err
    assert (out / "result.json").is_file()
    assert fcit(monkeypatch, *arguments, str(tmp_path / "new")) == 2
    assert not (tmp_path / "new").exists()


def test_a_report_ends_with_its_cost_and_where_it_lies(federation, monkeypatch, tmp_path, capsys):
    for method in ("disco", "finetune"):
        assert fcit(monkeypatch, "run", "--method", method, "--out", str(tmp_path / method)) == 0
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert fcit(monkeypatch, "report", "disco", "finetune") == 0
    cost, where = capsys.readouterr().out.splitlines()[-2:]
    assert cost.startswith("Time and traffic: ")
    both = f"{tmp_path / 'disco'}, {tmp_path / 'finetune'}"
    assert where == f"Runs: {both} · Report: {tmp_path / 'disco' / 'report.html'}"


def test_a_report_that_cannot_be_written_is_told(federation, monkeypatch, tmp_path, capsys):
    out = tmp_path / "r"
    assert fcit(monkeypatch, "run", "--out", str(out)) == 0
    page = out / "config.json" / "report.html"
    assert fcit(monkeypatch, "report", str(out), "--out", str(page)) == 2
    assert "cannot be written" in capsys.readouterr().err
