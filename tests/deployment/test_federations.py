"""Federations of real processes, by the commands of docs/deploy.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from certificate_script import make_certificates
from deployed import Federation, wait_until

from fcit_app.runs import RunFolder, read_result

SMALL = {
    "preset": "mini-smoke",
    "train.steps": 2,
    "train.rank": 2,
    "train.batch-size": 4,
    "data.train-samples": 40,
    "data.test-samples": 4,
    "data.min-samples": 4,
    "tasks": "figureqa",
}


@pytest.fixture(scope="module")
def federation(tmp_path_factory) -> Iterator[Callable[..., Federation]]:
    """Makes federations; whatever a failing test leaves running is ended."""
    made: list[Federation] = []

    def make(name: str, **settings) -> Federation:
        made.append(Federation(tmp_path_factory.mktemp(name) / "fcit", **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def finished(federation: Federation, out: Path, settings: dict[str, object]) -> RunFolder:
    """A run from the page's command to its end."""
    run = federation.start_run({**SMALL, **settings, "out": str(out)})
    assert run.wait(900) == 0, run.text()
    assert (out / "result.json").is_file(), run.text()[-6000:]
    return RunFolder(out)


def test_tls_and_node_authentication(federation, tmp_path):
    """Four SuperNodes; who has no right to be there is refused; the run equals a simulation."""
    secure = federation("secure", secure=True, authenticated=True, clients=4)
    link = secure.start_superlink()

    unregistered = secure.start_node(0, "unregistered")
    keyless = re.sub(r"--auth-supernode-private-key \S+", "", secure.node_command(0))
    keyless = secure.start("keyless", keyless)
    plain = secure.node_command(0, root_certificates="--insecure")
    plain = secure.start("plain", plain)
    other = secure.folder / "strange"
    assert make_certificates(other, "1").returncode == 0
    wrong = secure.node_command(0, root_certificates=f"--root-certificates {other}/ca.crt")
    wrong = secure.start("wrong", wrong)
    codes = [command.wait(300) for command in (unregistered, keyless, plain, wrong)]
    assert codes == [1, 1, 2, 2]
    assert f"flwr supernode register {secure.folder}/certificates/node-0.pub" in unregistered.text()
    assert "lets in only SuperNodes with a registered key" in keyless.text()
    assert "speaks TLS only, and --insecure does without" in plain.text()
    assert "was not issued by the authority in" in wrong.text()

    secure.register()
    nodes = secure.start_nodes()
    twin = secure.start_node(0, "twin")
    settings = {"clients-per-round": 2}
    found = finished(secure, tmp_path / "deployed", settings)
    assert twin.wait(300) == 1
    assert "a SuperNode with this key still counts as connected" in twin.text()
    assert [node.terminate() for node in nodes] == [143] * 4
    assert link.terminate() == 143
    assert [command.living() for command in (*nodes, link)] == [[]] * 5

    out = tmp_path / "simulated"
    changes = [f"--set={key}={value}" for key, value in {**SMALL, **settings}.items()]
    secure.run("simulation", f"fcit run --clients 4 --out {out} {' '.join(changes)}", 900)
    same_to_the_bit(found, RunFolder(out))


def same_to_the_bit(one: RunFolder, other: RunFolder) -> None:
    arrays = [folder.read_state().arrays for folder in (one, other)]
    assert arrays[0].keys() == arrays[1].keys() and len(arrays[0]) > 10
    for name, array in arrays[0].items():
        assert np.array_equal(array, arrays[1][name]), name
    results = [read_result(folder.path).model_dump(exclude={"seconds"}) for folder in (one, other)]
    assert results[0] == results[1]


def test_tls_alone(federation, tmp_path):
    secure = federation("tls", secure=True, authenticated=False, clients=1)
    secure.start_superlink()
    secure.start_nodes()
    settings = {"method": "finetune", "clients-per-round": 1}
    assert finished(secure, tmp_path / "run", settings).has_result


def test_a_supernode_that_is_killed_and_returns_in_mid_run(federation, tmp_path):
    """Insecure: its successor has another node number, and is the same client."""
    plain = federation("insecure", secure=False, authenticated=False, clients=2)
    link = plain.start_superlink()
    nodes = plain.start_nodes()
    out = tmp_path / "run"
    two_stages = {"tasks": "imagenet-r,figureqa", "method": "finetune", "clients-per-round": 2}
    run = plain.start_run({**SMALL, **two_stages, "out": str(out)})

    def happened(event: str) -> bool:
        path = out / "ledger.jsonl"
        return path.is_file() and f'"event": "{event}"' in path.read_text()

    wait_until(lambda: happened("round-finished"), run, 900)
    # The server now evaluates. It is held there until the successor is connected: on a slow machine
    # that might take longer, and the test would wait a minute for a message to the dead node.
    (server,) = [p for p in link.living() if "flwr-serverapp" in " ".join(p.cmdline())]
    server.suspend()
    nodes[1].kill()
    successor = plain.start_node(1, "node-1-again")
    wait_until(lambda: successor.says("SuperNode ID:"), successor, 500)
    server.resume()

    assert run.wait(900) == 0, run.text()
    folder = RunFolder(out)
    assert folder.has_result, run.text()[-6000:]
    events = folder.ledger.read()
    replied = [(e["stage"], e["client"]) for e in events if e["event"] == "client-replied"]
    assert sorted(replied) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert "client 1 is back under another node number" in notes
