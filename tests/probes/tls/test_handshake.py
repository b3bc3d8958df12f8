"""The handshake without I/O, against a server over memory BIOs and against bytes no server should send."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from OpenSSL import SSL

from config.vocabulary import TLSVersion, UnreachableReason
from monitor.lab.ca import Authority, Issued, KeyType
from probes.observation import Presented, Unreachable
from probes.tls.handshake import MOST_BYTES, MOST_CERTIFICATES, Handshake
from tests.kit.odd_certificates import Oddity, odd_certificate

HELLO_REQUEST = bytes.fromhex("160303000400000000")
"""A message that clients pass over however often it comes (RFC 5246, 7.4.1.1)."""


class MemoryServer:
    """A TLS server whose other end is the test."""

    def __init__(
        self,
        issued: Issued,
        more: Sequence[bytes] | None = None,
        *,
        maximum: int = SSL.TLS1_3_VERSION,
        ciphers: bytes = b"ALL:@SECLEVEL=0",
    ) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_max_proto_version(maximum)
        context.set_cipher_list(ciphers)
        chain = [issued.der(), *(more if more is not None else [each.der() for each in issued.chain[1:]])]
        with NamedTemporaryFile("w") as file:
            file.writelines(map(ssl.DER_cert_to_PEM_cert, chain))
            file.flush()
            context.use_certificate_chain_file(file.name)
        context.use_privatekey(issued.key)
        self.connection = SSL.Connection(context, None)
        self.connection.set_accept_state()

    def answer(self, data: bytes) -> bytes:
        self.connection.bio_write(data)
        with suppress(SSL.WantReadError):
            self.connection.do_handshake()
        try:
            return self.connection.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""


def new_handshake(server_name: str = "www.example.com", minimum: TLSVersion = TLSVersion.TLS1_0) -> Handshake:
    return Handshake("192.0.2.1", server_name, minimum)


def converse(handshake: Handshake, server: MemoryServer) -> Presented | Unreachable:
    said = server.answer(handshake.start())
    while handshake.outcome is None and said:
        said = server.answer(handshake.receive(said))
    return handshake.end()


def answered(data: bytes) -> Unreachable | None:
    handshake = new_handshake()
    handshake.start()
    handshake.receive(data)
    assert not isinstance(handshake.outcome, Presented)
    return handshake.outcome


@pytest.fixture(scope="module")
def leaf(issuing_ca: Authority) -> Issued:
    return issuing_ca.issue("www.example.com")


def test_the_outcome_says_what_was_presented_and_negotiated(leaf: Issued) -> None:
    outcome = converse(new_handshake(), MemoryServer(leaf))
    assert isinstance(outcome, Presented)
    assert [each.der for each in outcome.chain] == [each.der() for each in leaf.chain]
    assert (outcome.address, outcome.version, outcome.cipher) == ("192.0.2.1", "TLSv1.3", "TLS_AES_256_GCM_SHA384")
    assert outcome.group
    assert sum(len(each.der) for each in outcome.chain) < outcome.handshake_bytes < 8192
    # A signature is now and then a byte longer: that is no other look.
    assert replace(outcome, handshake_bytes=1) == outcome


def test_an_unchanged_chain_is_the_same_values_again(leaf: Issued) -> None:
    first, second = (converse(new_handshake(), MemoryServer(leaf)) for _ in range(2))
    assert isinstance(first, Presented)
    assert isinstance(second, Presented)
    assert all(one is other for one, other in zip(first.chain, second.chain, strict=True))


@pytest.mark.parametrize(
    ("server_name", "sent"),
    [
        ("www.example.com", b"www.example.com"),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("fe80::1%eth0", None),
        ("no name, surely", None),
        ("\u212a.example", None),
        ("x" * 64, None),
    ],
)
def test_only_a_dns_name_is_sent_as_server_name(leaf: Issued, server_name: str, sent: bytes | None) -> None:
    server = MemoryServer(leaf)
    assert isinstance(converse(new_handshake(server_name), server), Presented)
    assert server.connection.get_servername() == sent


def test_it_ends_with_close_notify(leaf: Issued) -> None:
    server = MemoryServer(leaf)
    converse(new_handshake(), server)
    with pytest.raises(SSL.ZeroReturnError):
        server.connection.recv(1)


def test_bytes_may_arrive_one_at_a_time(leaf: Issued) -> None:
    handshake, server = new_handshake(), MemoryServer(leaf)
    for each in server.answer(handshake.start()):
        assert handshake.outcome is None
        handshake.receive(bytes([each]))
    assert isinstance(handshake.outcome, Presented)


def test_weak_keys_and_signatures_are_seen(root_ca: Authority) -> None:
    weak = root_ca.intermediate(key=KeyType.RSA1024, signature_hash="sha1")
    outcome = converse(new_handshake(), MemoryServer(weak.issue("w", key=KeyType.RSA1024, signature_hash="sha1")))
    assert isinstance(outcome, Presented)
    assert [(each.key.bits, each.signature_hash) for each in outcome.chain] == [(1024, "sha1")] * 2


def test_a_server_without_forward_secrecy_has_no_group(issuing_ca: Authority) -> None:
    old = issuing_ca.issue("old", key=KeyType.RSA2048)
    server = MemoryServer(old, maximum=SSL.TLS1_2_VERSION, ciphers=b"AES128-SHA")
    outcome = converse(new_handshake(), server)
    assert isinstance(outcome, Presented)
    assert (outcome.version, outcome.cipher, outcome.group) == ("TLSv1.2", "AES128-SHA", "")


def test_what_every_client_offers_is_offered_first() -> None:
    class Offered(Handshake):
        def ciphers(self) -> list[str]:
            return self._connection.get_cipher_list()

    offered = Offered("192.0.2.1", "www.example.com", TLSVersion.TLS1_0).ciphers()
    default = [
        each
        for each in SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None).get_cipher_list()
        if "PSK" not in each and "SRP" not in each
    ]
    assert offered[: len(default)] == default
    assert len(offered) > len(default)
    assert not [each for each in offered if re.search("ADH|AECDH|PSK|SRP", each)]


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        ("15030300020246", UnreachableReason.PROTOCOL_VERSION, "protocol_version"),
        ("15030100020228", UnreachableReason.HANDSHAKE_FAILED, "handshake_failure"),
        ("15030300020270", UnreachableReason.HANDSHAKE_FAILED, "unrecognized_name"),
        ("15030300020263", UnreachableReason.HANDSHAKE_FAILED, "99"),
        ("15030100020100", UnreachableReason.CONNECTION_CLOSED, "closed"),
        ("16030300100101010101010101010101010101010101", UnreachableReason.HANDSHAKE_FAILED, "unexpected message"),
    ],
)
def test_failures_are_told_apart_by_their_alert(data: str, reason: UnreachableReason, detail: str) -> None:
    outcome = answered(bytes.fromhex(data))
    assert outcome is not None
    assert outcome.reason is reason
    assert detail in outcome.detail


def test_a_warning_ends_nothing() -> None:
    assert answered(bytes.fromhex("15030300020170")) is None


def test_a_server_that_picks_a_version_below_the_floor_is_refused(leaf: Issued) -> None:
    handshake, server = new_handshake(minimum=TLSVersion.TLS1_2), MemoryServer(leaf, maximum=SSL.TLS1_1_VERSION)
    hello = handshake.start()
    # Without the extension supported_versions (43) a server chooses without knowing our floor.
    tampered = hello.replace(bytes.fromhex("002b00050403040303"), bytes.fromhex("fafa00050403040303"))
    assert tampered != hello
    handshake.receive(server.answer(tampered))
    assert isinstance(handshake.outcome, Unreachable)
    assert handshake.outcome.reason is UnreachableReason.PROTOCOL_VERSION
    assert "TLSv1.2 or newer" in handshake.outcome.detail


def test_a_server_from_before_secure_renegotiation_is_seen(leaf: Issued) -> None:
    """RFC 5746, whose extension (65281) is cut out of the ServerHello here."""
    handshake, server = new_handshake(), MemoryServer(leaf, maximum=SSL.TLS1_2_VERSION)
    flight = server.answer(handshake.start())
    hello = flight[: 5 + int.from_bytes(flight[3:5], "big")]
    extensions = 46 + hello[43]  # after the headers, version, random, session, cipher and compression
    old = bytearray(hello.replace(bytes.fromhex("ff01000100"), b""))
    assert len(old) == len(hello) - 5
    for start, end in ((3, 5), (6, 9), (extensions + 1, extensions + 3)):
        old[start:end] = (int.from_bytes(old[start:end], "big") - 5).to_bytes(end - start, "big")
    handshake.receive(bytes(old))
    assert handshake.outcome is None, "it goes on"


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"220 mail.example.com ESMTP Mon, 23 Nov 2026 21:00:00 +0000\r\n", "SMTP"),
        (b"* OK [CAPABILITY IMAP4rev1] ready\r\n", "IMAP"),
        (b"\x15\x00\x00\x00\x0a5.7.29", "not speak TLS"),
        (b"\x1b[31m\r\n", "not speak TLS"),
    ],
)
def test_what_is_not_tls_is_named_and_not_quoted(said: bytes, named: str) -> None:
    """What is quoted may hold the time, and a finding whose text changes is news at every look."""
    outcome = answered(said)
    assert outcome is not None
    assert outcome.reason is UnreachableReason.NOT_TLS
    assert named in outcome.detail
    assert not re.search(r"2026|\x1b|OpenSSH", outcome.detail)


def test_one_byte_is_too_little_to_tell() -> None:
    assert answered(b"H") is None


def test_data_without_end_is_cut_off() -> None:
    handshake = new_handshake()
    handshake.start()
    received = 0
    while handshake.outcome is None:
        handshake.receive(HELLO_REQUEST * 100)
        received += len(HELLO_REQUEST * 100)
        assert received < MOST_BYTES + 1_000
    assert isinstance(handshake.outcome, Unreachable)
    assert handshake.outcome.reason is UnreachableReason.TOO_MUCH_DATA


@pytest.mark.parametrize(("more", "accepted"), [(MOST_CERTIFICATES - 1, True), (MOST_CERTIFICATES, False)])
def test_a_chain_has_a_length_that_is_looked_at(leaf: Issued, issuing_ca: Authority, more: int, accepted: bool) -> None:
    outcome = converse(new_handshake(), MemoryServer(leaf, [issuing_ca.der()] * more))
    assert isinstance(outcome, Presented) is accepted
    if isinstance(outcome, Unreachable):
        assert outcome.reason is UnreachableReason.TOO_MUCH_DATA


def test_a_certificate_that_openssl_takes_and_we_cannot_decode_is_a_typed_failure(
    leaf: Issued, issuing_ca: Authority
) -> None:
    def edit(fields: list[bytes]) -> list[bytes]:
        """Have parameters of RSASSA-PSS that are none."""
        return [*fields[:2], bytes.fromhex("301006092a864886f70d01010a3003020101"), *fields[3:]]

    odd = odd_certificate(issuing_ca, Oddity(edit, ""), "odd.example.com")
    outcome = converse(new_handshake(), MemoryServer(leaf, [odd.der()]))
    assert isinstance(outcome, Unreachable)
    assert outcome.reason is UnreachableReason.HANDSHAKE_FAILED
    assert "cannot be decoded" in outcome.detail


def test_tickets_without_end_do_not_keep_the_last_word_of_a_server_that_asks_for_a_certificate(
    leaf: Issued, tmp_path: Path
) -> None:
    file = tmp_path / "server.pem"
    file.write_bytes(leaf.chain_pem() + leaf.key_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.num_tickets = 3000
    arriving, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(arriving, leaving, server_side=True)
    handshake = new_handshake()
    arriving.write(handshake.start())
    with suppress(ssl.SSLWantReadError):
        server.do_handshake()
    arriving.write(handshake.receive(leaving.read()))
    assert (handshake.outcome, handshake.is_asked) == (None, True)
    server.do_handshake()
    assert leaving.pending > 2 * MOST_BYTES
    while handshake.outcome is None and leaving.pending:
        handshake.receive(leaving.read(16_384))
    assert isinstance(handshake.outcome, Presented)
    assert leaving.pending > 0
