"""By which algorithm a server of TLS 1.3 signs its handshake, told from what it sent encrypted."""

from __future__ import annotations

from contextlib import suppress

import pytest
from OpenSSL import SSL

from monitor.lab.ca import Authority, KeyType
from probes.tls.names import SIGNATURES
from probes.tls.signature import SignedHandshake, signature_in
from tests.kit.memory_server import context_of, with_ml_dsa

FLIGHT = 1 << 20
ROOT = Authority.root("Root")


def signed_by(context: SSL.Context, *, in_pieces: bool = False, secrets: list[bytes] | None = None) -> str:
    """Return the scheme by which a server with that context signs."""
    context.set_keylog_callback(lambda _connection, line: (secrets if secrets is not None else []).append(line))
    talk, server = SignedHandshake("www.example.com"), SSL.Connection(context, None)
    server.set_accept_state()
    server.bio_write(talk.start())
    with suppress(SSL.WantReadError):
        server.do_handshake()
    said = server.bio_read(FLIGHT)
    for piece in [bytes([each]) for each in said] if in_pieces else [said]:
        talk.receive(piece)
    return "" if talk.outcome is None else SIGNATURES[talk.outcome]


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        (KeyType.RSA2048, "rsa_pss_rsae_sha256"),
        (KeyType.P256, "ecdsa_secp256r1_sha256"),
        (KeyType.P384, "ecdsa_secp384r1_sha384"),
        (KeyType.ED25519, "ed25519"),
    ],
)
def test_each_kind_of_key_has_its_scheme(kind: KeyType, scheme: str) -> None:
    assert signed_by(context_of(ROOT.issue("www.example.com", key=kind))) == scheme


def test_a_post_quantum_key_has_its_scheme() -> None:
    assert signed_by(with_ml_dsa()) == "mldsa65"


@pytest.mark.parametrize(
    "suite", [b"TLS_AES_128_GCM_SHA256", b"TLS_AES_256_GCM_SHA384", b"TLS_CHACHA20_POLY1305_SHA256"]
)
def test_it_is_told_by_each_cipher_and_in_single_bytes(suite: bytes) -> None:
    context = context_of(ROOT.issue("www.example.com"))
    context.set_tls13_ciphersuites(suite)
    assert signed_by(context, in_pieces=True) == "ecdsa_secp256r1_sha256"


def test_a_server_of_tls_1_2_alone_has_none() -> None:
    context = context_of(ROOT.issue("www.example.com"))
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    talk, server = SignedHandshake("www.example.com"), SSL.Connection(context, None)
    server.set_accept_state()
    server.bio_write(talk.start())
    with suppress(SSL.Error):
        server.do_handshake()
    talk.receive(server.bio_read(FLIGHT))
    assert talk.outcome is None


@pytest.mark.parametrize("records", [b"", b"\x17\x03\x03\x00\x20" + bytes(32), b"\x17\x03\x03\xff\xff", b"\x17" * 40])
def test_records_that_cannot_be_decrypted_have_none(records: bytes) -> None:
    assert signature_in(records, bytes(32), "TLS_AES_128_GCM_SHA256") is None
