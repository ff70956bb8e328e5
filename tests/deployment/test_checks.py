"""What is told before a SuperLink or SuperNode is started, and about how it ended."""

from __future__ import annotations

import http.server
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from fcit_app import cli
from fcit_app.deployment import (
    check_node,
    check_superlink,
    explain,
    reach,
    read_arguments,
    wait_for_superlink,
)
from fcit_app.errors import ConfigError, RunError

WHO = ["--node-config", "partition-id=0 num-partitions=2"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Handshakes that fail are what these tests are about."""


@contextmanager
def serving(certificates: Path | None) -> Iterator[str]:
    """A web server as a SuperLink is one, with TLS or without; its address."""
    server = Server(("127.0.0.1", 0), Quiet)
    if certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "superlink.crt", certificates / "superlink.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_right_way_in_is_let_through(certificates):
    with serving(certificates) as address:
        assert reach(address, certificates / "ca.crt", insecure=False) is None
    with serving(None) as address:
        assert reach(address, None, insecure=True) is None


def test_a_wrong_authority(certificates, strange_certificates):
    with serving(certificates) as address:
        with pytest.raises(ConfigError, match=r"was not issued by the authority in .*ca\.crt"):
            reach(address, strange_certificates / "ca.crt", insecure=False)
        with pytest.raises(ConfigError, match="no --root-certificates"):
            reach(address, None, insecure=False)


def test_plain_text_to_tls_and_tls_to_plain_text(certificates):
    with (
        serving(certificates) as address,
        pytest.raises(ConfigError, match=r"speaks TLS only.*Leave --insecure out"),
    ):
        reach(address, None, insecure=True)
    with serving(None) as address, pytest.raises(ConfigError, match="does not speak TLS"):
        reach(address, certificates / "ca.crt", insecure=False)


def test_a_name_that_the_certificate_lacks(certificates, monkeypatch):
    with serving(certificates) as address:
        other = address.replace("127.0.0.1", "127.0.0.2")
        connect = socket.create_connection
        monkeypatch.setattr(
            socket,
            "create_connection",
            lambda place, *more: connect(("127.0.0.1", place[1]), *more),
        )
        with pytest.raises(ConfigError, match="was not issued for this address"):
            reach(other, certificates / "ca.crt", insecure=False)


def test_nobody_there_yet_is_no_error_but_a_bounded_wait(certificates):
    address = f"127.0.0.1:{free_port()}"
    assert reach(address, certificates / "ca.crt", insecure=False) == "Connection refused"
    said: list[str] = []
    with pytest.raises(RunError, match=r"did not answer within 0 s \(--max-wait-time\)"):
        wait_for_superlink(address, None, True, 0.0, said.append, lambda: False)
    stop = iter([False, True])
    wait_for_superlink(address, None, True, None, said.append, lambda: next(stop))
    assert said == [f"waiting for the SuperLink at {address}: Connection refused"]


def server_flags(folder: Path, key_of: Path | None = None) -> list[str]:
    return [
        f"--ssl-ca-certfile={folder / 'ca.crt'}",
        f"--ssl-certfile={folder / 'superlink.crt'}",
        f"--ssl-keyfile={(key_of or folder) / 'superlink.key'}",
        f"--port={free_port()}",
    ]


def problems_of(check, program: str, given: list[str]) -> str:
    with pytest.raises(ConfigError) as caught:
        check(read_arguments(program, given))
    return str(caught.value)


def test_a_sound_superlink_and_node(certificates):
    check_superlink(read_arguments("superlink", server_flags(certificates)))
    node = [f"--root-certificates={certificates / 'ca.crt'}", f"--port={free_port()}", *WHO]
    node += ["--auth-supernode-private-key", str(certificates / "node-0")]
    check_node(read_arguments("supernode", node))


def test_certificates_that_do_not_belong_together(certificates, strange_certificates):
    given = server_flags(certificates, key_of=strange_certificates)
    assert "do not belong together" in problems_of(check_superlink, "superlink", given)
    given = server_flags(certificates)
    given[0] = f"--ssl-ca-certfile={strange_certificates / 'ca.crt'}"
    assert "was not issued by the authority" in problems_of(check_superlink, "superlink", given)


def test_a_certificate_that_has_expired(certificates, tmp_path):
    """Issued by the true authority, and valid for a day long ago."""
    text = [(certificates / name).read_bytes() for name in ("ca.key", "ca.crt", "superlink.crt")]
    key = load_pem_private_key(text[0], None)
    authority, sound = map(x509.load_pem_x509_certificate, text[1:])
    expired = (
        x509.CertificateBuilder()
        .subject_name(sound.subject)
        .issuer_name(authority.subject)
        .public_key(sound.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2020, 1, 2))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "superlink.crt"
    path.write_bytes(expired.public_bytes(Encoding.PEM))
    given = server_flags(certificates)
    given[1] = f"--ssl-certfile={path}"
    assert "it has expired" in problems_of(check_superlink, "superlink", given)


def test_all_problems_of_a_node_are_told_at_once(certificates, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = problems_of(
            check_node,
            "supernode",
            [
                *("--superlink", "https://192.0.2.7:8000"),
                *("--root-certificates", str(certificates / "ca.key")),
                *("--auth-supernode-private-key", str(certificates / "node-0.pub")),
                *("--port", str(taken.getsockname()[1])),
                *("--node-config", "partition-id=2 num-partitions=2"),
            ],
        )
    assert text.startswith("5 problems")
    for words in (
        "must be host:port without a scheme",
        "holds no certificate",
        "is no private key in OpenSSH's form",
        "cannot be listened on (Address already in use)",
        "from 0 to num-partitions - 1",
    ):
        assert words in text


def test_files_that_cannot_be_read(certificates, tmp_path):
    given = ["--root-certificates", str(tmp_path / "none"), f"--port={free_port()}", *WHO]
    text = problems_of(check_node, "supernode", given)
    assert "--root-certificates" in text and "cannot be read (No such file or directory)" in text
    given = server_flags(certificates)
    given[2] = f"--ssl-keyfile={tmp_path}"
    assert "cannot be read (Is a directory)" in problems_of(check_superlink, "superlink", given)


def test_tls_must_be_renounced_in_so_many_words(certificates):
    text = problems_of(check_superlink, "superlink", [f"--port={free_port()}"])
    assert "--ssl-ca-certfile, --ssl-certfile, --ssl-keyfile: missing" in text
    check_superlink(read_arguments("superlink", ["--insecure", f"--port={free_port()}"]))


@pytest.mark.parametrize(
    "node_config",
    ["partition-id=0 num-partitions=2", 'data="/x y" num-partitions=3  partition-id = 2'],
)
def test_node_configurations_as_flower_reads_them(node_config):
    given = ["--node-config", node_config, f"--port={free_port()}"]
    check_node(read_arguments("supernode", given))


def test_what_flower_says_only_in_codes():
    given = read_arguments("supernode", ["--auth-supernode-private-key", "keys/node-1"])
    text = explain(given, "...\n[code: 2004] Failed to activate SuperNode.\n...")
    assert "`flwr supernode register keys/node-1.pub`" in text and "for a minute" in text
    given = read_arguments("supernode", [])
    assert "--auth-supernode-private-key" in explain(given, "[code: 2001] SuperNode authent…")
    assert explain(given, "INFO: all fine\nlast words") == "INFO: all fine\nlast words"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["start", "superlnk"], "must be one of superlink, supernode"),
        (["start", "superlink", "--port", "many"], "--port"),
        (["start", "superlink", "--port", "70000", "--insecure"], "from 1 to 65535"),
    ],
)
def test_the_command_refuses_wrong_use(arguments, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fcit", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_only_looking(certificates, strange_certificates, monkeypatch, capsys):
    """Also what a user asks whose `flwr` says no more than that there is no connection."""
    with serving(certificates) as address:
        for authority, code, words in (
            (certificates, 0, "nothing wrong is found"),
            (strange_certificates, 2, "was not issued by the authority"),
        ):
            given = ["--superlink", address, "--root-certificates", str(authority / "ca.crt")]
            command = ["fcit", "start", "--check", "supernode", *given, *WHO]
            monkeypatch.setattr(sys, "argv", [*command, "--port", str(free_port())])
            with pytest.raises(SystemExit) as caught:
                cli.main()
            assert (caught.value.code or 0) == code
            assert words in " ".join(capsys.readouterr().err.split())
