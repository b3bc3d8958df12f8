"""A server of OpenSSL whose other end is the test: each conversation is a new connection over memory."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from tempfile import NamedTemporaryFile
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from monitor.lab.ca import Issued
from probes.tls.hello import Choice, ClientProposal, Hello
from probes.tls.support import Supported, SupportedVersion, questions

_FLIGHT: Final = 1 << 20


def context_of(*pairs: Issued, ciphers: bytes = b"ALL:@SECLEVEL=0") -> SSL.Context:
    """Return a server's context with these certificates, which takes TLS 1.0 to 1.3."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_cipher_list(ciphers)
    for issued in pairs:
        context.use_certificate(x509.load_der_x509_certificate(issued.der()))
        context.use_privatekey(issued.key)
    return context


def with_ml_dsa() -> SSL.Context:
    """Return a server's context with a certificate for a key of ML-DSA, made by the library, whose OpenSSL knows it."""
    mldsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa")
    key = mldsa.MLDSA65PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "www.example.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 5)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=30))
        .sign(key, None)
    )
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(certificate)
    with NamedTemporaryFile() as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        # The library takes such a key from a file alone.
        context.use_privatekey_file(file.name)
    return context


def ask(context: SSL.Context, proposal: ClientProposal, server_name: str = "www.example.com") -> Choice:
    """Return the choice of a server with that context."""
    hello = Hello(proposal, server_name, os.urandom(32))
    server = SSL.Connection(context, None)
    server.set_accept_state()
    server.bio_write(hello.start())
    with suppress(SSL.Error):
        server.do_handshake()
    with suppress(SSL.WantReadError):
        hello.receive(server.bio_read(_FLIGHT))
    return hello.end()


def everything(context: SSL.Context) -> tuple[SupportedVersion, ...]:
    """Return everything that such a server takes."""
    asked = questions()
    proposal = next(asked)
    while True:
        try:
            proposal = asked.send(ask(context, proposal))
        except StopIteration as over:
            versions, unclear = over.value
            assert unclear == ()
            found: tuple[SupportedVersion, ...] = versions
            return found


def by_version(supported: Supported | tuple[SupportedVersion, ...]) -> dict[str, SupportedVersion]:
    """Return what is taken with each version."""
    versions = supported.versions if isinstance(supported, Supported) else supported
    return {each.version: each for each in versions}
