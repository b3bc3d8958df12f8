"""STARTTLS in SMTP (RFC 3207): greeting, EHLO, STARTTLS."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from probes.tls.preamble.talk import Agreed, Declined, Lines, agreed

_REPLY: Final = re.compile(rb"(?P<code>[2-5][0-9]{2})(?P<more>[ -]|\Z)(?P<text>.*)", re.DOTALL)
"""One line of a reply (RFC 5321, 4.2); more follow behind a hyphen."""
_NAME: Final = b"certvigil.invalid"
"""Some servers want a whole domain name, and nobody may have this one (RFC 6761)."""


class _Awaits(Enum):
    GREETING = auto()
    EXTENSIONS = auto()
    AGREEMENT = auto()


class SMTP:
    """The client's side."""

    def __init__(self) -> None:
        self.outcome: Agreed | Declined | None = None
        self._lines = Lines()
        self._awaits = _Awaits.GREETING
        self._offered = False

    def start(self) -> bytes:
        """Return nothing: the server speaks first."""
        return b""

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""
        self._lines.add(data)
        to_send = b""
        while self.outcome is None and (line := self._lines.next()) is not None:
            to_send += self._take(line)
        return to_send

    def _take(self, line: bytes) -> bytes:
        reply = _REPLY.fullmatch(line)
        if reply is None:
            self.outcome = Declined("does not speak SMTP")
            return b""
        if self._awaits is _Awaits.EXTENSIONS and reply["text"].strip().upper() == b"STARTTLS":
            self._offered = True
        return b"" if reply["more"] == b"-" else self._take_last(reply["code"])

    def _take_last(self, code: bytes) -> bytes:
        """Take the end of a reply."""
        match self._awaits, code:
            case _Awaits.GREETING, b"220":
                self._awaits = _Awaits.EXTENSIONS
                return b"EHLO " + _NAME + b"\r\n"
            case _Awaits.EXTENSIONS, b"250" if self._offered:
                self._awaits = _Awaits.AGREEMENT
                return b"STARTTLS\r\n"
            case _Awaits.EXTENSIONS, b"250":
                self.outcome = Declined("speaks SMTP, and does not offer STARTTLS")
            case _Awaits.AGREEMENT, b"220":
                self.outcome = agreed(bytes(self._lines.left))
            case _:
                self.outcome = Declined(f"answers {_SAID[self._awaits]} with the code {code.decode()}")
        return b""


_SAID: Final = {
    _Awaits.GREETING: "a connection",
    _Awaits.EXTENSIONS: "EHLO",
    _Awaits.AGREEMENT: "STARTTLS",
}
