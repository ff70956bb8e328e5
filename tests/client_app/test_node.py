"""Which worker a message is answered by, and that it makes no difference to the answer."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from app_runs import run_config

import client_app.app
from client_app.node import worker_of
from client_app.resident.caller import ResidentWorker
from client_app.resident.owner import owner_of_message
from client_app.resident.place import open_place
from client_app.worker import Worker
from fcit_app.config import parse
from fcit_app.model.adapters import initial_adapter, parameter_handles, wrap
from fcit_app.model.base import load_base

MESSAGE = ["/venv/bin/flwr-clientapp", "--runtime-api-address", "127.0.0.1:9094", "--token", "0f"]


@pytest.mark.parametrize(
    ("command", "owner"),
    [
        ([*MESSAGE, "--insecure", "--parent-pid", "1"], 1),
        ([*MESSAGE, "--root-certificates", "ca.crt", "--parent-pid=4242"], 4242),
        (MESSAGE, None),
        ([*MESSAGE, "--parent-pid", "7", "--allow-runtime-dependency-installation"], None),
        (["/venv/bin/flwr-simulation", "--parent-pid", "7"], None),
        (["/venv/lib/ray/_private/workers/default_worker.py", "--node-ip-address=1"], None),
        (["/venv/bin/pytest", "--parent-pid", "7"], None),
        ([""], None),
    ],
)
def test_only_a_message_of_a_deployment_has_an_owner(command, owner):
    assert owner_of_message(command) == owner


def test_a_system_without_unix_sockets_has_no_residents(monkeypatch):
    monkeypatch.delattr("socket.AF_UNIX")
    assert owner_of_message([*MESSAGE, "--parent-pid", "7"]) is None


def test_the_resident_is_asked_in_a_deployment_alone(tiny_folder, monkeypatch):
    config = run_config(tiny_folder, tiny_folder / "unused")
    own = worker_of(config)
    assert isinstance(own, Worker) and worker_of(dict(reversed(config.items()))) is own
    monkeypatch.setattr(sys, "argv", [*MESSAGE, "--parent-pid", "7"])
    assert isinstance(worker_of(config), ResidentWorker)
    assert worker_of({**config, "client-resident": 0}) is not own
    assert isinstance(worker_of({**config, "client-resident": 0}), Worker)


def test_handlers_reach_the_worker_by_one_door():
    """A handler that imports the worker itself would load the base for each message."""
    tree = ast.parse(Path(client_app.app.__file__).read_text())
    # What is imported for annotations alone is never run.
    run = [n for n in tree.body if not (isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n))]
    inside = [n for part in run for n in ast.walk(part)]
    found = {n.module for n in inside if isinstance(n, ast.ImportFrom)}
    assert "client_app.node" in found and "client_app.worker" not in found


SCRIPT = """
import hashlib, json, pathlib, sys
import client_app.app
from client_app.node import worker_of
from safetensors.numpy import load
folder, config = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
sys.argv = json.loads(sys.argv[3])
worker = worker_of(config)
worker.prepare()
token = worker.token(1, 2, 5)
sent = load((folder / "start.safetensors").read_bytes())
result, counts = worker.train(sent, 1, 1, 2, 5)
digest = lambda array: hashlib.sha256(array.tobytes()).hexdigest()
said = [token.count, digest(token.total), result.losses, counts]
said += [{key: digest(array) for key, array in sorted(result.arrays.items())}]
try:
    worker.train(sent, 9, 1, 2, 5)
except Exception as error:
    said += [type(error).__name__, str(error)]
print(json.dumps([said, "torch" in sys.modules]))
"""


def test_a_resident_answers_as_the_messages_own_worker_does(tiny_folder, tmp_path):
    from safetensors.numpy import save

    config = run_config(tiny_folder, tmp_path, projector="frozen", train__dropout=0.1)
    settings = parse(config).train
    model = wrap(load_base(str(tiny_folder)), settings.rank, settings.scaling, settings.dropout)
    start = initial_adapter(parameter_handles(model, projector=False), 0)
    (tmp_path / "start.safetensors").write_bytes(save(start))
    arguments = [str(tmp_path), json.dumps(config)]
    message = json.dumps([*MESSAGE, "--parent-pid", str(os.getpid())])
    command = [sys.executable, "-c", SCRIPT, *arguments, message]
    try:
        found = subprocess.run(command, stdout=subprocess.PIPE, timeout=120, check=True)
    finally:
        place = open_place(os.getpid())
        place.clear()
        shutil.rmtree(place.folder)
    said, imported_torch = json.loads(found.stdout)
    assert not imported_torch

    worker = Worker(parse(config))
    token = worker.token(1, 2, 5)
    result, counts = worker.train(start, 1, 1, 2, 5)
    assert said[0] == token.count
    assert said[1] == digest(token.total)
    assert said[2] == list(result.losses)
    assert said[3] == counts
    assert said[4] == {key: digest(array) for key, array in result.arrays.items()}
    assert said[5:] == ["DataError", "There is no stage 9; the run has 2 stages."]


def digest(array):
    return hashlib.sha256(array.tobytes()).hexdigest()
