"""Certificates and keys: can they be read, do they belong together, are they still valid."""

from __future__ import annotations

import ssl
from pathlib import Path

_PRIVATE_KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_OTHER_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


def unreadable(flag: str, path: Path) -> str | None:
    """Say why a file cannot be read; None if it can."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return (
            f"{flag} = {path}: cannot be read ({error.strerror}). Give the path of a file that "
            "this user may read; docker/make-certificates.sh makes all of them."
        )
    return None


def problem_of_authority(flag: str, path: Path) -> str | None:
    """Say what is wrong with the CA's certificate; None if nothing is."""
    problem = unreadable(flag, path)
    if problem is None:
        try:
            ssl.create_default_context(cafile=str(path))
        except ssl.SSLError:
            problem = (
                f"{flag} = {path}: holds no certificate in PEM form. It must be the certificate "
                "authority's (ca.crt), not a key."
            )
    return problem


def problem_of_node_key(path: Path) -> str | None:
    """Say what is wrong with a SuperNode's private key; None if nothing is seen."""
    flag = "--auth-supernode-private-key"
    problem = unreadable(flag, path)
    if problem is None and not path.read_bytes().startswith(_PRIVATE_KEY):
        problem = (
            f"{flag} = {path}: is no private key in OpenSSH's form. It must be the SuperNode's own "
            "node-N of docker/make-certificates.sh, not node-N.pub."
        )
    return problem


def problem_of_server(authority: Path, certificate: Path, key: Path) -> str | None:
    """Say whether clients that trust the authority would refuse this certificate.

    A TLS handshake in memory, so that OpenSSL itself is the judge.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password would be asked for on the terminal; Flower knows none either.
        server.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        what = (
            "do not belong together" if "MISMATCH" in str(error) else "are no certificate and key"
        )
        return (
            f"--ssl-certfile = {certificate} and --ssl-keyfile = {key} {what} in PEM form. Give "
            "superlink.crt and superlink.key of one run of docker/make-certificates.sh."
        )
    client = ssl.create_default_context(cafile=str(authority))
    client.check_hostname = False
    try:
        _shake_hands(server, client)
    except ssl.SSLCertVerificationError as error:
        return f"--ssl-certfile = {certificate}: {refusal(error, str(authority))}"
    return None


def refusal(error: ssl.SSLCertVerificationError, authority: str) -> str:
    """Say in words why a certificate was refused, and how to mend it."""
    if error.verify_code == _EXPIRED:
        return "it has expired. Make new certificates with docker/make-certificates.sh."
    if error.verify_code in _OTHER_NAME:
        return (
            f"it was not issued for this address ({error.verify_message}). Name the address in "
            "docker/make-certificates.sh, or use one that is named there."
        )
    return (
        f"it was not issued by the authority in {authority} ({error.verify_message}). Give the "
        "ca.crt that was made together with the SuperLink's certificate."
    )


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(back, there, server_side=False, server_hostname="superlink"),
        server.wrap_bio(there, back, server_side=True),
    ]
    # Client hello, the server's answer, the client's last word: three turns are enough.
    for _ in range(3):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
