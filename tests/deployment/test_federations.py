"""Federations of real processes, by the commands of docs/deploy.md."""

from __future__ import annotations

import json
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
    assert run.wait(500) == 0, run.text()
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
    codes = [command.wait(180) for command in (unregistered, keyless, plain, wrong)]
    assert codes == [1, 1, 2, 2]
    assert f"flwr supernode register {secure.folder}/certificates/node-0.pub" in unregistered.text()
    assert "lets in only SuperNodes with a registered key" in keyless.text()
    assert "speaks TLS only, and --insecure does without" in plain.text()
    assert "was not issued by the authority in" in wrong.text()

    secure.register()
    nodes = [secure.start_node(client) for client in range(4)]
    settings = {"clients-per-round": 4}
    found = finished(secure, tmp_path / "deployed", settings)
    assert [node.terminate() for node in nodes] == [143] * 4
    assert link.terminate() == 143
    assert [command.living() for command in (*nodes, link)] == [[]] * 5

    out = tmp_path / "simulated"
    changes = [f"--set={key}={value}" for key, value in {**SMALL, **settings}.items()]
    secure.run("simulation", f"fcit run --clients 4 --out {out} {' '.join(changes)}", 500)
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
    secure.start_node(0)
    settings = {"method": "finetune", "clients-per-round": 1}
    assert finished(secure, tmp_path / "run", settings).has_result


def test_a_supernode_that_is_killed_and_returns_in_mid_run(federation, tmp_path):
    """Insecure: its successor has another node number, and is the same client."""
    plain = federation("insecure", secure=False, authenticated=False, clients=2)
    plain.start_superlink()
    nodes = [plain.start_node(client) for client in range(2)]
    out = tmp_path / "run"
    settings = {"method": "finetune", "clients-per-round": 2, "rounds": 3, "client-timeout": 40.0}
    run = plain.start_run({**SMALL, **settings, "out": str(out)})

    def replied(client: int) -> list[int]:
        path = out / "ledger.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        events = [json.loads(line) for line in lines]
        return [
            event["round"]
            for event in events
            if event["event"] == "client-replied" and event["client"] == client
        ]

    wait_until(lambda: replied(1) == [1], run, 400)
    nodes[1].kill()
    plain.start_node(1, "node-1-again")
    assert run.wait(500) == 0, run.text()
    folder = RunFolder(out)
    assert folder.has_result, run.text()[-6000:]
    assert replied(0) == [1, 2, 3]
    assert replied(1) in ([1, 3], [1, 2, 3])
    notes = [event["text"] for event in folder.ledger.read() if event["event"] == "note"]
    assert "client 1 is back under another node number" in notes
