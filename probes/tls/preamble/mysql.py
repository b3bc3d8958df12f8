"""MySQL's and MariaDB's request for TLS: the server's first packet offers it, and the client's answer asks for it."""

from __future__ import annotations

from typing import Final

from probes.tls.preamble.talk import Agreed, Declined, agreed, declines

_HEADER: Final = 4
"""Bytes: the length of what follows in three, the packet's number in one."""
_PROTOCOL: Final = 10
_ERROR: Final = 0xFF
_PROTOCOL_41, _SSL, _SECURE_CONNECTION = 0x0200, 0x0800, 0x8000
"""Capabilities."""
_MOST_IN_A_PACKET: Final = (1 << 24) - 1
_UTF8MB4: Final = 45
_REQUEST_BODY: Final = (
    (_PROTOCOL_41 | _SSL | _SECURE_CONNECTION).to_bytes(4, "little")
    + _MOST_IN_A_PACKET.to_bytes(4, "little")
    + bytes((_UTF8MB4,))
    + bytes(23)
)
_REQUEST: Final = len(_REQUEST_BODY).to_bytes(3, "little") + b"\x01" + _REQUEST_BODY


class MySQL:
    """The client's side."""

    def __init__(self) -> None:
        self.outcome: Agreed | Declined | None = None
        self._received = bytearray()

    def start(self) -> bytes:
        """Return nothing: the server speaks first."""
        return b""

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""
        self._received += data
        if len(self._received) < _HEADER + 1:
            return b""
        end = _HEADER + int.from_bytes(self._received[:3], "little")
        first = self._received[_HEADER]
        if self._received[3] != 0 or first not in {_PROTOCOL, _ERROR} or end <= _HEADER + 1:
            self.outcome = Declined("does not speak MySQL's protocol")
        elif len(self._received) >= end:
            body, left = bytes(self._received[_HEADER:end]), bytes(self._received[end:])
            self.outcome = declines("answers a connection with an error") if first == _ERROR else _offer(body, left)
        # No word of the server comes between the request and the ClientHello.
        return _REQUEST if isinstance(self.outcome, Agreed) else b""


def _offer(greeting: bytes, left: bytes) -> Agreed | Declined:
    """Return whether the server offers TLS in its first packet."""
    # Protocol, version up to a NUL, number of the thread, eight bytes of a nonce, a NUL, the lower capabilities.
    _, ended, rest = greeting[1:].partition(b"\0")
    if not ended or len(rest) < 4 + 8 + 1 + 2:
        return Declined("does not speak MySQL's protocol")
    if not int.from_bytes(rest[13:15], "little") & _SSL:
        return declines("speaks MySQL's protocol, and takes no TLS")
    return agreed(left)
