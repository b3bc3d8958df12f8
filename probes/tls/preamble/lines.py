"""Preambles of protocols that are spoken in lines: SMTP, LMTP, IMAP, POP3, ManageSieve, FTP, NNTP and IRC.

Each is a table of turns: what the client sends, and how the reply to it is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from config.immutable import immutable
from probes.tls.preamble.talk import Agreed, Declined, agreed, declines

_NAME: Final = b"certvigil.invalid"
"""Some servers want a whole domain name, and nobody may have this one (RFC 6761)."""

Read = Callable[[Sequence[bytes]], Agreed | Declined | None]
"""Takes the lines of a reply that have come so far, at least one; returns None while more belong to it."""


@immutable
class DialogueTurn:
    """One exchange."""

    to_send: bytes
    """Nothing where the server speaks first."""
    read: Read


class LineDialogue:
    """The client's side: one turn after the other, until a reply declines or the last one agrees."""

    def __init__(self, turns: Sequence[DialogueTurn]) -> None:
        self.outcome: Agreed | Declined | None = None
        self._turns = list(turns)
        self._unread = bytearray()
        self._reply: list[bytes] = []

    def start(self) -> bytes:
        """Return what the client says first."""
        return self._turns[0].to_send

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""
        self._unread += data
        to_send = b""
        while self.outcome is None and (line := self._next_line()) is not None:
            self._reply.append(line)
            to_send += self._take(self._turns[0].read(self._reply))
        return to_send

    def _next_line(self) -> bytes | None:
        """Return the next whole line without its end; None where there is none yet."""
        line, end, rest = self._unread.partition(b"\n")
        if not end:
            return None
        self._unread = rest
        return bytes(line).rstrip(b"\r")

    def _take(self, reply: Agreed | Declined | None) -> bytes:
        """Go on after a reply, or to wait for the rest of it; return what is to be sent."""
        if reply is None:
            return b""
        del self._turns[0]
        self._reply = []
        if isinstance(reply, Agreed) and self._turns:
            return self._turns[0].to_send
        self.outcome = agreed(bytes(self._unread)) if isinstance(reply, Agreed) else reply
        return b""


# Replies with a code of three digits: SMTP and LMTP (RFC 5321, 4.2), FTP (RFC 959, 4.2), NNTP (RFC 3977, 3.2)

_CODED: Final = re.compile(rb"(?P<code>[1-5][0-9]{2})(?P<more>[ -]|\Z)(?P<text>.*)", re.DOTALL)


def _code(protocol: str, asked: str, *wanted: bytes, offers: bytes | None = None, free_text: bool = False) -> Read:
    """Read a reply with a code: one of those `wanted`, and among its lines one that `offers` the extension.

    With `free_text`, lines between the first and the last have no code, as in FTP.
    """

    def read(lines: Sequence[bytes]) -> Agreed | Declined | None:
        first, last = _CODED.fullmatch(lines[0]), _CODED.fullmatch(lines[-1])
        if first is None or (last is None and not free_text):
            return Declined(f"does not speak {protocol}")
        if first["more"] == b"-" and (last is None or last["more"] == b"-" or last["code"] != first["code"]):
            return None
        if first["code"] not in wanted:
            return declines(f"answers {asked} with the code {first['code'].decode()}")
        if offers is not None and not any(line[4:].strip().upper() == offers for line in lines):
            return declines(f"speaks {protocol}, and does not offer {offers.decode()}")
        return Agreed()

    return read


def _mail(protocol: str, hello: bytes) -> tuple[DialogueTurn, ...]:
    return (
        DialogueTurn(b"", _code(protocol, "a connection", b"220")),
        DialogueTurn(hello + b" " + _NAME + b"\r\n", _code(protocol, hello.decode(), b"250", offers=b"STARTTLS")),
        DialogueTurn(b"STARTTLS\r\n", _code(protocol, "STARTTLS", b"220")),
    )


SMTP: Final = _mail("SMTP", b"EHLO")
"""RFC 3207."""
LMTP: Final = _mail("LMTP", b"LHLO")
"""RFC 2033 and RFC 3207."""
FTP: Final = (
    DialogueTurn(b"", _code("FTP", "a connection", b"220", free_text=True)),
    DialogueTurn(b"AUTH TLS\r\n", _code("FTP", "AUTH TLS", b"234", free_text=True)),
)
"""RFC 4217."""
NNTP: Final = (
    # 201: posting is not permitted.
    DialogueTurn(b"", _code("NNTP", "a connection", b"200", b"201")),
    DialogueTurn(b"STARTTLS\r\n", _code("NNTP", "STARTTLS", b"382")),
)
"""RFC 4642."""


# Replies that begin, or end, with a word

_IMAP_GREETING: Final = re.compile(rb"\* (?P<word>OK|PREAUTH|BYE)(?: .*)?", re.IGNORECASE | re.DOTALL)
_IMAP_TAG: Final = b"certvigil1"
_IMAP_RESULT: Final = re.compile(_IMAP_TAG + rb" (?P<word>OK|NO|BAD)(?: .*)?", re.IGNORECASE | re.DOTALL)


def _imap_greeting(lines: Sequence[bytes]) -> Agreed | Declined:
    greeting = _IMAP_GREETING.fullmatch(lines[0])
    match greeting and greeting["word"].upper():
        case b"OK":
            return Agreed()
        case b"PREAUTH":
            # Such a connection is logged in already, where STARTTLS is not valid (RFC 9051, 7.1.4).
            return declines("speaks IMAP, and takes no TLS: it is logged in from the beginning")
        case b"BYE":
            return declines("answers a connection with BYE")
    return Declined("does not speak IMAP")


def _imap_result(lines: Sequence[bytes]) -> Agreed | Declined | None:
    if lines[-1].startswith(b"* "):
        return None
    result = _IMAP_RESULT.fullmatch(lines[-1])
    if result is None:
        return Declined("does not speak IMAP")
    return Agreed() if result["word"].upper() == b"OK" else declines("speaks IMAP, and takes no TLS")


IMAP: Final = (
    DialogueTurn(b"", _imap_greeting),
    DialogueTurn(_IMAP_TAG + b" STARTTLS\r\n", _imap_result),
)
"""RFC 9051, 6.2.1."""


def _pop3(refused: str) -> Read:
    """Read a status indicator (RFC 1939, 3); of a refusal, it says that the server so does."""

    def read(lines: Sequence[bytes]) -> Agreed | Declined:
        match lines[0].partition(b" ")[0].upper():
            case b"+OK":
                return Agreed()
            case b"-ERR":
                return declines(refused)
        return Declined("does not speak POP3")

    return read


POP3: Final = (
    DialogueTurn(b"", _pop3("answers a connection with an error")),
    DialogueTurn(b"STLS\r\n", _pop3("speaks POP3, and takes no TLS")),
)
"""RFC 2595, 4."""

_SIEVE_RESULT: Final = re.compile(rb"(?P<word>OK|NO|BYE)(?:[ (].*)?", re.IGNORECASE | re.DOTALL)


def _sieve_greeting(lines: Sequence[bytes]) -> Agreed | Declined | None:
    # The greeting is the list of capabilities, each a quoted string at the beginning of a line (RFC 5804, 1.7).
    result = _SIEVE_RESULT.fullmatch(lines[-1])
    if result is None:
        return None if lines[-1].startswith(b'"') else Declined("does not speak ManageSieve")
    if result["word"].upper() != b"OK":
        return declines(f"answers a connection with {result['word'].upper().decode()}")
    if any(line.strip().upper() == b'"STARTTLS"' for line in lines):
        return Agreed()
    return declines("speaks ManageSieve, and does not offer STARTTLS")


def _sieve_result(lines: Sequence[bytes]) -> Agreed | Declined:
    result = _SIEVE_RESULT.fullmatch(lines[0])
    if result is None:
        return Declined("does not speak ManageSieve")
    return Agreed() if result["word"].upper() == b"OK" else declines("speaks ManageSieve, and takes no TLS")


SIEVE: Final = (
    DialogueTurn(b"", _sieve_greeting),
    DialogueTurn(b"STARTTLS\r\n", _sieve_result),
)
"""RFC 5804, 2.2."""

_IRC_MESSAGE: Final = re.compile(rb"(?::\S+ +)?(?P<command>[A-Za-z]+|[0-9]{3})(?: .*)?", re.DOTALL)
"""RFC 1459, 2.3.1."""


def _irc(lines: Sequence[bytes]) -> Agreed | Declined | None:
    message = _IRC_MESSAGE.fullmatch(lines[-1])
    match message and message["command"].upper():
        case None:
            return Declined("does not speak IRC")
        case b"670":
            return Agreed()
        case b"691":
            return declines("speaks IRC, and takes no TLS")
        case b"421" | b"451":
            # An unknown command; and a command that is not known before registration.
            return declines("speaks IRC, and does not offer STARTTLS")
        case b"ERROR":
            return declines("answers STARTTLS with an error")
        # Notices while it looks the client's name up.
        case b"NOTICE" | b"PING" | b"020":
            return None
    return Declined("does not speak IRC")


IRC: Final = (DialogueTurn(b"STARTTLS\r\n", _irc),)
"""The extension `tls` of IRCv3."""
