"""A ClientHello of our own: OpenSSL reads it, and what a server chooses is read from any bytes, in any pieces."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from config.vocabulary import TLSVersion
from monitor.lab.ca import Authority, Issued, KeyType
from probes.tls.hello import MOST_BYTES, Chosen, ClientProposal, Hello, TurnedAway, Unclear
from probes.tls.names import CURVES, GROUPS, SIGNATURES, SUITES, SUITES_1_3
from probes.tls.preamble.behind import Behind
from probes.tls.preamble.talk import MOST_BYTES as MOST_IN_CLEAR
from probes.tls.preamble.talk import OneAnswer, agreed
from tests.kit.memory_server import ask, context_of

RANDOM = bytes(range(32))
MODERN = ClientProposal(TLSVersion.TLS1_3, tuple(SUITES_1_3), tuple(GROUPS))
OLDER = ClientProposal(TLSVersion.TLS1_2, tuple(SUITES), tuple(CURVES))
ALERT = bytes.fromhex("15030300020228")


@pytest.fixture(scope="module")
def issued() -> Issued:
    return Authority.root("Root").issue("www.example.com", key=KeyType.P256)


def hello(proposal: ClientProposal = OLDER) -> Hello:
    return Hello(proposal, "www.example.com", RANDOM)


def server_hello(suite: int, *, version: int = 0x0303, random: bytes = RANDOM, extensions: bytes = b"") -> bytes:
    body = version.to_bytes(2, "big") + random + b"\x00" + suite.to_bytes(2, "big") + b"\x00"
    body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message


def test_the_group_of_tls_1_3_is_told_without_a_key_share(issued: Issued) -> None:
    choice = ask(context_of(issued), MODERN)
    assert isinstance(choice, Chosen)
    assert (choice.version, GROUPS[choice.group or 0]) == (0x0304, "X25519MLKEM768")
    assert choice.suite in SUITES_1_3


def test_up_to_tls_1_2_the_group_and_the_signature_are_in_the_key_exchange(issued: Issued) -> None:
    choice = ask(context_of(issued), OLDER)
    assert isinstance(choice, Chosen)
    assert choice.version == 0x0303
    assert SUITES[choice.suite].startswith("ECDHE-ECDSA-")
    assert choice.group in CURVES
    assert SIGNATURES[choice.signature or 0] == "ecdsa_secp256r1_sha256"


def test_the_server_is_asked_for_by_its_name(issued: Issued) -> None:
    names: list[bytes | None] = []
    context = context_of(issued)
    context.set_tlsext_servername_callback(lambda connection: names.append(connection.get_servername()))
    ask(context, OLDER)
    ask(context, MODERN)
    ask(context, OLDER, server_name="192.0.2.1")
    assert names == [b"www.example.com", b"www.example.com", None]


def test_the_protocol_within_tls_is_offered(issued: Issued) -> None:
    offered: list[list[bytes]] = []
    context = context_of(issued)

    def select(_connection: SSL.Connection, names: list[bytes]) -> bytes:
        offered.append(names)
        return names[0]

    context.set_alpn_select_callback(select)
    talk, server = Hello(OLDER, "", RANDOM, b"postgresql"), SSL.Connection(context, None)
    server.set_accept_state()
    server.bio_write(talk.start())
    with suppress(SSL.WantReadError):
        server.do_handshake()
    assert offered == [[b"postgresql"]]


def test_a_server_that_takes_nothing_of_it_turns_it_away_with_its_alert(issued: Issued) -> None:
    context = context_of(issued)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    assert ask(context, OLDER) == TurnedAway(70)
    nothing = ClientProposal(TLSVersion.TLS1_3, tuple(SUITES_1_3), (22,))
    assert ask(context, nothing) == TurnedAway(40)


def test_a_warning_is_passed_over_and_the_choice_comes_after_it() -> None:
    talk = hello()
    talk.receive(bytes.fromhex("15030300020170") + server_hello(0x002F))
    assert talk.outcome == Chosen(0x0303, 0x002F)


def test_a_choice_in_single_bytes_is_the_same() -> None:
    data = server_hello(0x1301, extensions=bytes.fromhex("002b00020304003300021 1ec".replace(" ", "")))
    whole, pieces = hello(MODERN), hello(MODERN)
    whole.receive(data)
    for each in data:
        pieces.receive(bytes([each]))
    assert whole.outcome == pieces.outcome == Chosen(0x0304, 0x1301, 4588)


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (b"", TurnedAway()),
        (ALERT, TurnedAway(40)),
        (b"HTTP/1.1 400 Bad Request\r\n", Unclear),
        (b"220 mail ESMTP\r\n", Unclear),
        (b"\x16\x03\x03\x00\x04\x0b\x00\x00\x00", Unclear),
        (b"\x16\x03\x03\x00\x06\x02\x00\x00\x02\x03\x03", Unclear),
        (b"\x16\x03\x03\x40\x00\x02\xff\xff\xff" + bytes(16380), Unclear),
        (b"\x15\x03\x03\x00\x00", Unclear),
    ],
    ids=["nothing", "alert", "http", "smtp", "certificate first", "torn hello", "16 MB", "empty alert"],
)
def test_each_other_answer_has_its_outcome(said: bytes, outcome: object) -> None:
    talk = hello()
    talk.receive(said)
    found = talk.end()
    assert isinstance(found, outcome) if isinstance(outcome, type) else found == outcome


def test_a_server_that_sends_without_end_is_not_heard_for_long() -> None:
    talk = hello()
    talk.receive(server_hello(0xC02F))
    certificate = b"\x16\x03\x03\x40\x00\x0b\x03\xff\xfc" + bytes(16380)
    for _ in range(MOST_BYTES // len(certificate) + 1):
        talk.receive(certificate)
    assert isinstance(talk.outcome, Unclear)


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_any_bytes_have_an_outcome(pieces: list[bytes], begins_well: bool) -> None:
    talk = hello()
    for each in [server_hello(0xC02F) + b"\x16\x03\x03\x00\x40"] * begins_well + pieces:
        if talk.outcome is None:
            talk.receive(each)
    assert talk.end() is not None


def test_the_hello_comes_behind_what_is_said_in_the_clear() -> None:
    def behind() -> Behind[Hello]:
        return Behind(OneAnswer(b"TLS?", lambda received: agreed(received[1:]) if received else None), hello())

    talk = behind()
    began = [(talk.start(), talk.has_begun), (talk.receive(b"Y")[:3], talk.has_begun)]
    assert began == [(b"TLS?", False), (b"\x16\x03\x01", True)]
    injected = behind()
    injected.start()
    assert injected.receive(b"YX") == b""
    assert injected.outcome == "sent more in the clear behind its agreement to begin TLS"
    assert not injected.has_begun
    endless = Behind(OneAnswer(b"TLS?", lambda _received: None), hello())
    endless.receive(bytes(MOST_IN_CLEAR + 1))
    assert endless.declined == f"does not begin TLS within {MOST_IN_CLEAR} bytes in the clear"
