"""Federations without keys, by the commands of docs/deploy.md."""

from __future__ import annotations

from pathlib import Path

from app_runs import serve
from deployed import SMALL, terminate, wait_until
from in_process_grid import InProcessGrid
from same_runs import everything

from client_app.app import app as client_app
from fcit_app.runs import RunFolder, events_that_stand


def happened(out: Path, event: str, stage: int) -> bool:
    ledger = out / "ledger.jsonl"
    return ledger.is_file() and f'"event": "{event}", "stage": {stage}' in ledger.read_text()


def test_tls_alone_and_a_superlink_that_is_told_to_end(federation, tmp_path):
    """The round under way is finished; the SuperLink's successor goes on after it."""
    secure = federation("tls", secure=True, authenticated=False, clients=1)
    link = secure.start_superlink(options="--stop-within 600")  # the machine may be a slow one
    secure.start_nodes()
    out = tmp_path / "run"
    settings = {**SMALL, "method": "finetune", "clients-per-round": 1}
    run = secure.start_run({**settings, "out": str(out)})
    wait_until(lambda: happened(out, "round-started", 1), run, 900)
    assert terminate([link]) == [143]
    assert link.living() == []
    assert f"{out}: stopping when the step under way is done, in 10:00 at the latest" in link.text()
    assert f"{out}: Saved up to stage 1, round 1; go on with" in link.text()
    folder = RunFolder(out)
    assert [event["event"] for event in folder.ledger.read()][-2:] == [
        "round-finished",
        "run-stopped",
    ]
    run.kill()

    secure.start_superlink("superlink-again")
    again = secure.start_run({**settings, "resume": str(out)}, "resumed")
    assert again.wait(900) == 0, again.text()
    assert [e["round"] for e in folder.ledger.read() if e["event"] == "run-resumed"] == [1]
    whole = {**folder.read_config(), "out": str(tmp_path / "whole"), "resume": ""}
    serve(whole, InProcessGrid(client_app, 1, run_config=whole))
    assert everything(folder) == everything(RunFolder(tmp_path / "whole"))


def test_a_supernode_and_then_the_superlink_are_killed_in_mid_run(federation, tmp_path):
    """Insecure: a SuperNode's successor has another node number, and is the same client.

    The run ends with its SuperLink; its successor has the database, and the run is resumed there.
    """
    plain = federation("insecure", secure=False, authenticated=False, clients=2)
    link = plain.start_superlink()
    nodes = plain.start_nodes()
    out = tmp_path / "run"
    two_stages = {"tasks": "imagenet-r,figureqa", "method": "finetune", "clients-per-round": 2}
    run = plain.start_run({**SMALL, **two_stages, "out": str(out)})

    wait_until(lambda: happened(out, "round-finished", 1), run, 900)
    # The server now evaluates. It is held there until the successor is connected: on a slow machine
    # that might take longer, and the test would wait a minute for a message to the dead node.
    (server,) = [p for p in link.living() if "flwr-serverapp" in " ".join(p.cmdline())]
    server.suspend()
    nodes[1].kill()
    successor = plain.start_node(1, "node-1-again")
    wait_until(lambda: successor.says("SuperNode ID:"), successor, 500)
    server.resume()

    wait_until(lambda: happened(out, "round-started", 2), run, 900)
    (superlink,) = [p for p in link.living() if "/flower-superlink" in " ".join(p.cmdline())]
    superlink.kill()
    assert link.wait(60) == 1
    assert "flower-superlink has ended" in link.text()
    assert link.living() == []
    run.kill()
    assert not (out / "result.json").exists()

    plain.start_superlink("superlink-again")
    again = plain.start_run({**SMALL, **two_stages, "resume": str(out)}, "resumed")
    assert again.wait(900) == 0, again.text()
    folder = RunFolder(out)
    assert folder.has_result, again.text()[-6000:]
    events = events_that_stand(folder.ledger.read())
    replied = [(e["stage"], e["client"]) for e in events if e["event"] == "client-replied"]
    assert sorted(replied) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    notes = [event.get("text") for event in folder.ledger.read()]
    assert "client 1 is back under another node number" in notes
    whole = {**folder.read_config(), "out": str(tmp_path / "whole"), "resume": ""}
    serve(whole, InProcessGrid(client_app, 2, run_config=whole))
    assert everything(folder) == everything(RunFolder(tmp_path / "whole"))
