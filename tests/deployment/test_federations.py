"""A federation of four with TLS and keys, by the commands of docs/deploy.md."""

from __future__ import annotations

import re

import numpy as np
from certificate_script import make_certificates
from deployed import SMALL, finished, terminate

from fcit_app.runs import RunFolder, read_result


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
