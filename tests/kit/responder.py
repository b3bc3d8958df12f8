"""OpenSSL's OCSP responder, for one CA."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from monitor.lab.ca import Authority, Issued

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port that is free at every address: this responder listens at all."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def responder_at(url: str) -> x509.Extension[x509.ExtensionType]:
    """Return the extension of a certificate that says where its CA answers."""
    access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url))
    value = x509.AuthorityInformationAccess([access])
    return x509.Extension(value.oid, critical=False, value=value)


def index(statuses: Mapping[Issued, float | None]) -> str:
    """Return the database of a CA (openssl-ca(1)); a revoked certificate has the Unix time of its revocation."""
    lines = []
    for issued, revoked in statuses.items():
        of = issued.certificate
        end, serial = f"{of.not_valid_after_utc:%y%m%d%H%M%SZ}", f"{of.serial_number:X}"
        serial = serial if len(serial) % 2 == 0 else f"0{serial}"
        at = "" if revoked is None else f"{datetime.fromtimestamp(revoked, UTC):%y%m%d%H%M%SZ},keyCompromise"
        lines.append(f"{'V' if revoked is None else 'R'}\t{end}\t{at}\t{serial}\tunknown\t/CN={serial}\n")
    return "".join(lines)


def answer(ca: Authority, of: Issued, now: float, revoked: float | None = None, *, lasts: float = 3600) -> bytes:
    """Return an OCSP response that `ca` signed an hour before Unix time `now`, in DER."""
    builder = ocsp.OCSPResponseBuilder().add_response(
        of.certificate,
        ca.certificate,
        hashes.SHA1(),
        ocsp.OCSPCertStatus.GOOD if revoked is None else ocsp.OCSPCertStatus.REVOKED,
        datetime.fromtimestamp(now - 3600, UTC),
        datetime.fromtimestamp(now + lasts, UTC),
        None if revoked is None else datetime.fromtimestamp(revoked, UTC),
        None if revoked is None else x509.ReasonFlags.superseded,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, ca.certificate)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.DER)


@contextmanager
def responder(directory: Path, ca: Authority, port: int, statuses: Mapping[Issued, float | None]) -> Iterator[str]:
    """Run the responder, and give its URL."""
    (directory / "ca.pem").write_bytes(ca.pem())
    (directory / "ca.key").write_bytes(ca.key_pem())
    (directory / "index.txt").write_text(index(statuses))
    (directory / "index.txt.attr").write_text("unique_subject = no\n")
    given = ["-index", "index.txt", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key"]
    command = ["/usr/bin/openssl", "ocsp", "-port", str(port), "-ndays", "1", *given]
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            # Nobody may connect to see that it listens: it waits for ever for the request.
            assert process.stdout.readline().startswith(b"ACCEPT")
            yield f"http://{HOST}:{port}/"
        finally:
            process.kill()
