"""Federations without keys, by the commands of docs/deploy.md."""

from __future__ import annotations

from deployed import SMALL, finished, wait_until

from fcit_app.runs import RunFolder


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
