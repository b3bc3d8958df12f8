"""Servers as nobody wants them, each with the exact message, by each driver; other ones are in `test_drive.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography import x509

from config.model import Endpoint
from config.vocabulary import EndpointProtocol, UnreachableReason
from monitor.lab.ca import Authority
from monitor.lab.servers import LocalServer, Site, write_site
from tests.kit.drivers import DRIVERS, Look, by_uvloop
from tests.kit.peers import HELLO, HOLD, RESET, Behaviour, HostilePeer, playing

NAME = "www.example.com"
OID = x509.ObjectIdentifier("1.3.6.1.4.1.55555.2")
PART = bytes.fromhex("160303003a020000360303") + bytes(9)
"""The first bytes of a record with a ServerHello, whose rest does not come."""
SMTP = (b"220 it ESMTP\r\n", HELLO, b"250-it\r\n250 STARTTLS\r\n", HELLO)


@pytest.mark.parametrize("by", DRIVERS)
@pytest.mark.parametrize(
    ("protocol", "steps", "reason", "detail"),
    [
        pytest.param(
            *(EndpointProtocol.TLS, [HELLO, PART, RESET]),
            *(UnreachableReason.CONNECTION_RESET, "Connection reset by peer"),
            id="resets amid the handshake",
        ),
        pytest.param(
            *(EndpointProtocol.TLS, [HELLO, PART], UnreachableReason.CONNECTION_CLOSED),
            "the server closed the connection in the middle of the handshake",
            id="leaves amid the handshake",
        ),
        pytest.param(
            *(EndpointProtocol.TLS, [HELLO, PART, HOLD], UnreachableReason.TIMED_OUT),
            "no complete handshake within 0.3 s",
            id="falls silent amid the handshake",
        ),
        pytest.param(
            *(EndpointProtocol.SMTP, [b"2", HOLD], UnreachableReason.TIMED_OUT),
            "no complete handshake within 0.3 s",
            id="falls silent amid its greeting",
        ),
        pytest.param(
            *(EndpointProtocol.SMTP, [HOLD], UnreachableReason.TIMED_OUT),
            "no complete handshake within 0.3 s: the server said nothing; "
            "it may want TLS from the first byte (protocol tls, not STARTTLS)",
            id="waits for TLS where a greeting was expected",
        ),
        pytest.param(
            *(EndpointProtocol.LDAP, [HELLO], UnreachableReason.CONNECTION_CLOSED),
            "the server closed the connection before TLS began, and said nothing: "
            "it may want TLS from the first byte (protocol tls, not STARTTLS)",
            id="leaves without a word where LDAP was expected",
        ),
        pytest.param(
            *(EndpointProtocol.LDAP, [HELLO, RESET], UnreachableReason.CONNECTION_RESET),
            "Connection reset by peer: the server said nothing; "
            "it may want TLS from the first byte (protocol tls, not STARTTLS)",
            id="resets where LDAP was expected",
        ),
        pytest.param(
            *(EndpointProtocol.SMTP, [*SMTP, b"220 go ahead\r\n250 injected\r\n", HOLD], UnreachableReason.NOT_TLS),
            "the server sent more in the clear behind its agreement to begin TLS",
            id="injects text before TLS begins",
        ),
        pytest.param(
            *(EndpointProtocol.SMTP, [*SMTP, b"220 go ahead\r\n", HELLO, b"500 what?\r\n"], UnreachableReason.NOT_TLS),
            "the server agreed to begin TLS, and goes on in the clear",
            id="agrees and goes on in the clear",
        ),
        pytest.param(
            *(EndpointProtocol.SMTP, [*SMTP, b"220 go ahead\r\n", HELLO, RESET], UnreachableReason.CONNECTION_RESET),
            "Connection reset by peer",
            id="agrees and resets",
        ),
        pytest.param(
            *(EndpointProtocol.IMAP, [b"HTTP/1.1 400 Bad Request\r\n\r\n"], UnreachableReason.NOT_TLS),
            "the server does not speak IMAP",
            id="speaks HTTP where IMAP was expected",
        ),
        pytest.param(
            *(EndpointProtocol.SMTP, [b"SSH-2.0-OpenSSH_9.2p1\r\n", HOLD], UnreachableReason.NOT_TLS),
            "the server does not speak SMTP",
            id="speaks SSH where SMTP was expected",
        ),
        pytest.param(
            *(EndpointProtocol.POSTGRES, [b"SSH-2.0-OpenSSH_9.2p1\r\n", HOLD], UnreachableReason.NOT_TLS),
            "the server does not speak PostgreSQL's protocol",
            id="speaks SSH where PostgreSQL was expected",
        ),
    ],
)
def test_a_bad_server_is_said_in_these_words(
    protocol: EndpointProtocol, steps: Sequence[bytes], reason: UnreachableReason, detail: str, by: Look
) -> None:
    timeout = 0.3 if reason is UnreachableReason.TIMED_OUT else 10.0
    with playing(steps) as (host, port):
        seen = by(Endpoint("it", host, port, NAME, protocol=protocol, timeout=timeout))
    assert seen.presented == ()
    (failure,) = seen.failures
    assert (failure.address, failure.reason, failure.detail) == (host, reason, detail)


@pytest.mark.parametrize(
    ("behaviour", "reason", "detail"),
    [
        (Behaviour.REFUSES, UnreachableReason.CONNECTION_REFUSED, "Connection refused"),
        (Behaviour.SILENT, UnreachableReason.TIMED_OUT, "no complete handshake within 0.3 s"),
        (Behaviour.DRIPS, UnreachableReason.TIMED_OUT, "no complete handshake within 0.3 s"),
        (Behaviour.PLAIN_HTTP, UnreachableReason.NOT_TLS, "the server speaks HTTP without TLS"),
        (Behaviour.BANNER, UnreachableReason.NOT_TLS, "the server speaks SSH without TLS"),
        (Behaviour.FLOODS, UnreachableReason.HANDSHAKE_FAILED, "OpenSSL says: excessive message size"),
    ],
)
def test_a_peer_that_is_no_tls_server_is_said_in_these_words(
    start_peer: Callable[[Behaviour], HostilePeer], behaviour: Behaviour, reason: UnreachableReason, detail: str
) -> None:
    peer = start_peer(behaviour)
    timeout = 0.3 if reason is UnreachableReason.TIMED_OUT else 10.0
    (failure,) = by_uvloop(Endpoint("it", peer.host, peer.port, NAME, timeout=timeout)).failures
    assert (failure.reason, failure.detail) == (reason, detail)


def test_a_megabyte_of_certificates_is_taken_from_nobody(tmp_path: Path, issuing_ca: Authority) -> None:
    leaf = issuing_ca.issue(NAME)
    site = write_site(str(tmp_path), leaf)
    fat = Authority.root(
        extensions=[x509.Extension(OID, critical=False, value=x509.UnrecognizedExtension(OID, bytes(65_000)))]
    )
    many = tmp_path / "many.pem"
    many.write_bytes(leaf.pem() + fat.pem() * 17)
    with LocalServer([Site(str(many), site.key)]) as server:
        for by in DRIVERS:
            (failure,) = by(Endpoint("it", server.host, server.port, NAME)).failures
            assert (failure.reason, failure.detail) == (
                UnreachableReason.HANDSHAKE_FAILED,
                "OpenSSL says: excessive message size",
            )
