"""The header of the PROXY protocol (HAProxy's proxy-protocol.txt), for a connection on our own behalf.

Neither version claims another address: the server goes by the real one.
"""

from __future__ import annotations

from typing import Final

from config.vocabulary import ProxyProtocolVersion
from probes.tls.preamble.talk import Agreed, Declined

_LOCAL: Final = b"\r\n\r\n\0\r\nQUIT\n" + b"\x20\0\0\0"
"""The signature; version 2 and the command LOCAL; no family; no address."""
_HEADERS: Final = {ProxyProtocolVersion.V1: b"PROXY UNKNOWN\r\n", ProxyProtocolVersion.V2: _LOCAL}


class ProxyHeader:
    """The client's side: a header, to which there is no answer."""

    def __init__(self, version: ProxyProtocolVersion) -> None:
        self.outcome: Agreed | Declined | None = None
        self._header = _HEADERS[version]

    def start(self) -> bytes:
        """Return the header."""
        self.outcome = Agreed()
        return self._header

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002 (it is over before anything comes)
        """Take nothing."""
        return b""
