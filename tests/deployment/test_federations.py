"""A federation of four with TLS and keys, by the commands of docs/deploy.md."""

from __future__ import annotations

import re

from app_runs import serve
from certificate_script import make_certificates
from deployed import finished, terminate
from in_process_grid import InProcessGrid
from same_runs import everything

from client_app.app import app as client_app
from fcit_app.runs import RunFolder


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
    assert terminate(nodes) == [143] * 4
    assert terminate([link]) == [143]
    assert [command.living() for command in (*nodes, link)] == [[]] * 5

    # As a simulation's, whose bits are this process's: tests/end_to_end/test_flwr_run.py.
    alone = {**found.read_config(), "out": str(tmp_path / "alone")}
    serve(alone, InProcessGrid(client_app, 4, run_config=alone))
    assert len(found.read_state().arrays) > 10
    assert everything(found) == everything(RunFolder(tmp_path / "alone"))
