"""The script that makes certificates and keys."""

from __future__ import annotations

import stat
import subprocess

import pytest
from certificate_script import SCRIPT, make_certificates
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_only_the_owner_reads_keys_and_every_node_has_its_own(certificates):
    names = {path.name for path in certificates.iterdir()}
    nodes = {f"node-{number}{end}" for number in range(3) for end in ("", ".pub")}
    assert names == nodes | {"ca.crt", "ca.key", "superlink.crt", "superlink.key"}
    for path in certificates.iterdir():
        open_to_all = path.suffix in (".crt", ".pub")
        assert stat.S_IMODE(path.stat().st_mode) == (0o644 if open_to_all else 0o600), path
    publics = set()
    for number in range(3):
        private = load_ssh_private_key((certificates / f"node-{number}").read_bytes(), None)
        public = load_ssh_public_key((certificates / f"node-{number}.pub").read_bytes())
        assert isinstance(private, ec.EllipticCurvePrivateKey)  # the kind that Flower wants
        assert private.public_key() == public
        publics.add((certificates / f"node-{number}.pub").read_bytes())
    assert len(publics) == 3


def test_the_certificate_is_the_authoritys_and_names_every_address(tmp_path):
    folder = tmp_path / "certificates"
    done = make_certificates(folder, "1", "link.example.org", "192.0.2.7", "2001:db8::7")
    assert done.returncode == 0, done.stderr
    authority, server = (
        x509.load_pem_x509_certificate((folder / name).read_bytes())
        for name in ("ca.crt", "superlink.crt")
    )
    server.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "superlink", "link.example.org"]
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert addresses == {"127.0.0.1", "192.0.2.7", "2001:db8::7"}
    assert (server.not_valid_after_utc - server.not_valid_before_utc).days == 365


def test_nothing_is_replaced_unasked(tmp_path):
    folder = tmp_path / "certificates"
    assert make_certificates(folder, "2").returncode == 0
    before = contents(folder)
    refused = make_certificates(folder, "1")
    assert refused.returncode == 2 and "--force" in refused.stderr
    assert contents(folder) == before
    assert make_certificates("--force", folder, "1").returncode == 0
    after = contents(folder)
    assert after.keys() == before.keys() - {"node-1", "node-1.pub"}
    assert all(after[name] != before[name] for name in after)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "usage:"),
        (["0"], "NODES = '0'"),
        (["two"], "NODES = 'two'"),
        (["2", "https://link"], "without port or scheme"),
        (["2", "link:8000"], "without its port"),
    ],
)
def test_wrong_use_writes_nothing(tmp_path, arguments, words):
    done = make_certificates(tmp_path / "certificates", *arguments)
    assert done.returncode == 2 and words in done.stderr
    assert not (tmp_path / "certificates").exists()


def test_a_failure_leaves_the_old_files_as_they_were(tmp_path):
    folder = tmp_path / "certificates"
    assert make_certificates(folder, "1").returncode == 0
    before = contents(folder)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh-keygen").write_text("#!/bin/sh\necho no entropy >&2\nexit 1\n")
    (programs / "ssh-keygen").chmod(0o755)
    done = make_certificates("--force", folder, "1", PATH=f"{programs}:/usr/bin:/bin")
    assert done.returncode == 2 and "no entropy" in done.stderr
    assert contents(folder) == before


def test_the_script_is_sound_for_the_plainest_shell():
    assert subprocess.run(["sh", "-n", SCRIPT]).returncode == 0
