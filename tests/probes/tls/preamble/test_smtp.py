"""The dialogue of STARTTLS in SMTP, without I/O: what servers say, well or badly."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from config.text import Printable
from config.vocabulary import TLSVersion, UnreachableReason
from probes.observation import Unreachable
from probes.tls.handshake import Handshake
from probes.tls.preamble.smtp import SMTP
from probes.tls.preamble.talk import MOST_BYTES, Agreed, Declined

GREETING = b"220 mail.example.com ESMTP\r\n"
EXTENSIONS = b"250-mail.example.com\r\n250-SIZE 1000\r\n250-STARTTLS\r\n250 8BITMIME\r\n"
AGREEMENT = b"220 2.0.0 Ready to start TLS\r\n"
CLIENT_HELLO = b"\x16\x03"


def test_the_server_greets_is_asked_what_it_offers_and_agrees() -> None:
    smtp = SMTP()
    assert smtp.start() == b""
    assert smtp.receive(b"220-mail.example.com\r\n") == b""
    assert smtp.receive(GREETING) == b"EHLO certvigil.invalid\r\n"
    assert smtp.receive(EXTENSIONS) == b"STARTTLS\r\n"
    assert smtp.outcome is None
    assert smtp.receive(AGREEMENT) == b""
    assert smtp.outcome == Agreed()


@pytest.mark.parametrize("last", [b"250 starttls\r\n", b"250-STARTTLS\n250 HELP\n"], ids=["lower case", "bare LF"])
def test_what_is_offered_is_read_as_servers_write_it(last: bytes) -> None:
    smtp = SMTP()
    smtp.receive(GREETING)
    assert smtp.receive(b"250-mail.example.com\r\n" + last) == b"STARTTLS\r\n"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([b"554 no service\r\n"], "answers a connection with the code 554"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], "does not speak SMTP"),
        ([b"+OK ready\r\n"], "does not speak SMTP"),
        ([GREETING, b"502 what\r\n"], "answers EHLO with the code 502"),
        ([GREETING, b"250-mail\r\n250 SIZE\r\n"], "speaks SMTP, and does not offer STARTTLS"),
        ([GREETING, b"250-mail\r\n250 XSTARTTLS\r\n"], "speaks SMTP, and does not offer STARTTLS"),
        ([GREETING, EXTENSIONS, b"454 no TLS today\r\n"], "answers STARTTLS with the code 454"),
        ([GREETING, EXTENSIONS, AGREEMENT + b"250 injected\r\n"], "sent more in the clear behind its agreement"),
        ([GREETING, EXTENSIONS + AGREEMENT + b"\x16"], "sent more in the clear behind its agreement"),
    ],
)
def test_a_server_that_does_not_agree_is_said_and_never_quoted(said: list[bytes], why: str) -> None:
    smtp = SMTP()
    for each in said:
        smtp.receive(each)
    assert isinstance(smtp.outcome, Declined)
    assert smtp.outcome.why.startswith(why)


def handshake_behind(*said: bytes) -> tuple[Handshake, bytes]:
    handshake = Handshake("192.0.2.1", "mail.example.com", TLSVersion.TLS1_0, preamble=SMTP())
    sent = handshake.start()
    for each in said:
        sent += handshake.receive(each)
    return handshake, sent


def test_the_handshake_begins_once_the_server_agreed() -> None:
    handshake, sent = handshake_behind(GREETING, EXTENSIONS)
    assert sent == b"EHLO certvigil.invalid\r\nSTARTTLS\r\n"
    assert handshake.receive(AGREEMENT).startswith(CLIENT_HELLO)
    handshake.receive(b"250 in the clear\r\n")
    assert handshake.outcome == Unreachable(
        Printable("192.0.2.1"), UnreachableReason.NOT_TLS, Printable("the server does not speak TLS")
    )


def test_bytes_may_arrive_one_at_a_time() -> None:
    whole = GREETING + EXTENSIONS + AGREEMENT
    _, sent = handshake_behind(*(whole[at : at + 1] for at in range(len(whole))))
    assert CLIENT_HELLO in sent


def test_a_server_that_declines_is_a_typed_failure() -> None:
    handshake, _ = handshake_behind(b"554 no service\r\n")
    why = Printable("the server answers a connection with the code 554")
    assert handshake.outcome == Unreachable(Printable("192.0.2.1"), UnreachableReason.NOT_TLS, why)


def test_a_server_that_leaves_before_it_agreed_is_said() -> None:
    handshake, _ = handshake_behind(GREETING)
    left = handshake.end()
    assert isinstance(left, Unreachable)
    assert (left.reason, left.detail) == (
        UnreachableReason.CONNECTION_CLOSED,
        "the server closed the connection before TLS began",
    )


@pytest.mark.parametrize("said", [b"220-" + b"x" * 996 + b"\r\n", b"x" * 1000], ids=["lines", "one line"])
def test_talk_without_end_is_cut_off(said: bytes) -> None:
    handshake, _ = handshake_behind()
    received = 0
    while handshake.outcome is None:
        handshake.receive(said)
        received += len(said)
        assert received <= MOST_BYTES + len(said)
    assert isinstance(handshake.outcome, Unreachable)
    assert handshake.outcome.reason is UnreachableReason.TOO_MUCH_DATA


@example([GREETING, EXTENSIONS, AGREEMENT, b""])
@given(st.lists(st.binary(max_size=100) | st.sampled_from([GREETING, EXTENSIONS, AGREEMENT]), max_size=8))
def test_no_bytes_make_it_raise_or_say_what_is_not_printable(said: list[bytes]) -> None:
    handshake, _ = handshake_behind()
    for each in said:
        if handshake.outcome is None:
            handshake.receive(each)
    if isinstance(handshake.outcome, Unreachable):
        assert handshake.outcome.detail.isprintable()
