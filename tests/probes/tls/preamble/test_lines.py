"""STARTTLS in protocols that are spoken in lines, without I/O: what servers say, well or badly."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from config.text import Printable
from config.vocabulary import EndpointProtocol, TLSVersion, UnreachableReason
from probes.observation import Unreachable
from probes.tls.handshake import Handshake
from probes.tls.preamble import lines
from probes.tls.preamble.lines import DialogueTurn, LineDialogue
from probes.tls.preamble.registry import preamble_of
from probes.tls.preamble.talk import MOST_BYTES, Agreed, Declined

GREETING = b"220 mail.example.com ESMTP\r\n"
EXTENSIONS = b"250-mail.example.com\r\n250-SIZE 1000\r\n250-STARTTLS\r\n250 8BITMIME\r\n"
AGREEMENT = b"220 2.0.0 Ready to start TLS\r\n"
CLIENT_HELLO = b"\x16\x03"


def test_the_server_greets_is_asked_what_it_offers_and_agrees() -> None:
    smtp = LineDialogue(lines.SMTP)
    assert smtp.start() == b""
    assert smtp.receive(b"220-mail.example.com\r\n") == b""
    assert smtp.receive(GREETING) == b"EHLO certvigil.invalid\r\n"
    assert smtp.receive(EXTENSIONS) == b"STARTTLS\r\n"
    assert smtp.outcome is None
    assert smtp.receive(AGREEMENT) == b""
    assert smtp.outcome == Agreed()


@pytest.mark.parametrize("last", [b"250 starttls\r\n", b"250-STARTTLS\n250 HELP\n"], ids=["lower case", "bare LF"])
def test_offers_are_read_as_servers_write_them(last: bytes) -> None:
    smtp = LineDialogue(lines.SMTP)
    smtp.receive(GREETING)
    assert smtp.receive(b"250-mail.example.com\r\n" + last) == b"STARTTLS\r\n"


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        (lines.LMTP, [b"220 it LMTP\r\n", b"250-it\r\n250 STARTTLS\r\n", b"220 begin\r\n"]),
        (lines.IMAP, [b"* OK [CAPABILITY IMAP4rev1] ready\r\n", b"* OK wait\r\ncertvigil1 OK begin\r\n"]),
        (lines.IMAP, [b"* ok\r\n", b"CERTVIGIL1 ok\r\n"]),
        (lines.POP3, [b"+OK <1.2@it>\r\n", b"+OK begin\r\n"]),
        (lines.SIEVE, [b'"IMPLEMENTATION" "it"\r\n"STARTTLS"\r\n"SASL" ""\r\nOK "ready"\r\n', b'OK "begin"\r\n']),
        (lines.FTP, [b"220 it\r\n", b"234 AUTH TLS OK.\r\n"]),
        (lines.FTP, [b"220-it\r\n221 is no end\r\n free text\r\n220 now\r\n", b"234 begin\r\n"]),
        (lines.NNTP, [b"200 it, posting allowed\r\n", b"382 begin\r\n"]),
        (lines.NNTP, [b"201 it, no posting\r\n", b"382 begin\r\n"]),
        (lines.IRC, [b":it NOTICE * :*** Looking up\r\nPING :1\r\n:it 670 * :STARTTLS successful\r\n"]),
    ],
)
def test_each_protocol_agrees_in_its_own_words(turns: Sequence[DialogueTurn], said: list[bytes]) -> None:
    dialogue = LineDialogue(turns)
    sent = [dialogue.start(), *(dialogue.receive(each) for each in said)]
    assert dialogue.outcome == Agreed()
    assert sent == [*(each.to_send for each in turns), b""]


@pytest.mark.parametrize(
    ("turns", "said", "why"),
    [
        (lines.SMTP, [b"554 no service\r\n"], "answers a connection with the code 554"),
        (lines.SMTP, [b"SSH-2.0-OpenSSH_9.2\r\n"], "does not speak SMTP"),
        (lines.SMTP, [b"+OK ready\r\n"], "does not speak SMTP"),
        (lines.SMTP, [b"220-it\r\nno code\r\n"], "does not speak SMTP"),
        (lines.SMTP, [GREETING, b"502 what\r\n"], "answers EHLO with the code 502"),
        (lines.SMTP, [GREETING, b"250-mail\r\n250 SIZE\r\n"], "speaks SMTP, and does not offer STARTTLS"),
        (lines.SMTP, [GREETING, b"250-mail\r\n250 XSTARTTLS\r\n"], "speaks SMTP, and does not offer STARTTLS"),
        (lines.SMTP, [GREETING, EXTENSIONS, b"454 no TLS today\r\n"], "answers STARTTLS with the code 454"),
        (lines.SMTP, [GREETING, EXTENSIONS, AGREEMENT + b"250 injected\r\n"], "sent more in the clear behind its"),
        (lines.SMTP, [GREETING, EXTENSIONS + AGREEMENT + b"\x16"], "sent more in the clear behind its agreement"),
        (lines.LMTP, [b"220 it\r\n", b"250 it\r\n"], "speaks LMTP, and does not offer STARTTLS"),
        (lines.IMAP, [b"* PREAUTH welcome\r\n"], "speaks IMAP, and takes no TLS: it is logged in from the beginning"),
        (lines.IMAP, [b"* BYE busy\r\n"], "answers a connection with BYE"),
        (lines.IMAP, [b"+OK POP3\r\n"], "does not speak IMAP"),
        (lines.IMAP, [b"* OK\r\n", b"certvigil1 BAD what\r\n"], "speaks IMAP, and takes no TLS"),
        (lines.IMAP, [b"* OK\r\n", b"other OK begin\r\n"], "does not speak IMAP"),
        (lines.IMAP, [b"* OK\r\n", b"certvigil1 OK begin\r\n* 1 EXISTS\r\n"], "sent more in the clear behind its"),
        (lines.POP3, [b"-ERR busy\r\n"], "answers a connection with an error"),
        (lines.POP3, [b"+OK\r\n", b"-ERR what\r\n"], "speaks POP3, and takes no TLS"),
        (lines.POP3, [b"* OK\r\n"], "does not speak POP3"),
        (lines.POP3, [b"+OK\r\n", b"+OK\r\n+OK injected\r\n"], "sent more in the clear behind its agreement"),
        (lines.SIEVE, [b'"IMPLEMENTATION" "STARTTLS"\r\nOK\r\n'], "speaks ManageSieve, and does not offer STARTTLS"),
        (lines.SIEVE, [b'BYE "busy"\r\n'], "answers a connection with BYE"),
        (lines.SIEVE, [b"220 it\r\n"], "does not speak ManageSieve"),
        (lines.SIEVE, [b'"STARTTLS"\r\nOK\r\n', b"NO\r\n"], "speaks ManageSieve, and takes no TLS"),
        (lines.SIEVE, [b'"STARTTLS"\r\nOK\r\n', b"220\r\n"], "does not speak ManageSieve"),
        (lines.FTP, [b"220 it\r\n", b"500 what\r\n"], "answers AUTH TLS with the code 500"),
        (lines.FTP, [b"421 busy\r\n"], "answers a connection with the code 421"),
        (lines.NNTP, [b"200 it\r\n", b"580 no\r\n"], "answers STARTTLS with the code 580"),
        (lines.IRC, [b":it 421 * STARTTLS :Unknown command\r\n"], "speaks IRC, and does not offer STARTTLS"),
        (lines.IRC, [b":it 451 * :You have not registered\r\n"], "speaks IRC, and does not offer STARTTLS"),
        (lines.IRC, [b":it 691 * :STARTTLS failure\r\n"], "speaks IRC, and takes no TLS"),
        (lines.IRC, [b"ERROR :closing\r\n"], "answers STARTTLS with an error"),
        (lines.IRC, [b"SSH-2.0-OpenSSH_9.2\r\n"], "does not speak IRC"),
        (lines.IRC, [b":it 001 you :welcome\r\n"], "does not speak IRC"),
    ],
)
def test_a_server_that_does_not_agree_is_said_and_never_quoted(
    turns: Sequence[DialogueTurn], said: list[bytes], why: str
) -> None:
    dialogue = LineDialogue(turns)
    for each in said:
        dialogue.receive(each)
    assert isinstance(dialogue.outcome, Declined)
    assert dialogue.outcome.why.startswith(why)
    assert dialogue.outcome.reason is (None if why.startswith(("does not", "sent")) else UnreachableReason.TLS_DECLINED)


def handshake_behind(*said: bytes) -> tuple[Handshake, bytes]:
    handshake = Handshake("192.0.2.1", "mail.example.com", TLSVersion.TLS1_0, preamble=LineDialogue(lines.SMTP))
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
    assert handshake.outcome == Unreachable(Printable("192.0.2.1"), UnreachableReason.TLS_DECLINED, why)


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


WORDS = (
    *(GREETING, EXTENSIONS, AGREEMENT, b"* OK\r\n", b"certvigil1 OK\r\n", b"+OK\r\n", b'"STARTTLS"\r\nOK\r\n'),
    *(b"234 x\r\n", b"382 x\r\n", b":it 670 *\r\n", b"0\x0c\x02\x01\x01x\x07\n\x01\0\x04\0\x04\0", b"\x03\0\0\x13"),
    *(b"<stream:stream><stream:features>", b"</stream:features>", b"S", b"N", b"J\0\0\0\n8.0\0"),
)


@pytest.mark.parametrize("protocol", [each for each in EndpointProtocol if each is not EndpointProtocol.TLS])
@example(said=[GREETING, EXTENSIONS, AGREEMENT, b""])
@given(said=st.lists(st.binary(max_size=100) | st.sampled_from(WORDS), max_size=8))
def test_no_bytes_make_a_protocol_raise_or_say_something_unprintable(
    protocol: EndpointProtocol, said: list[bytes]
) -> None:
    preamble = preamble_of(protocol, "mail.example.com")
    handshake = Handshake("192.0.2.1", "mail.example.com", TLSVersion.TLS1_0, preamble=preamble)
    handshake.start()
    for each in said:
        if handshake.outcome is None:
            handshake.receive(each)
    if isinstance(handshake.outcome, Unreachable):
        assert handshake.outcome.detail.isprintable()
