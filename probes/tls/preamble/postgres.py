"""PostgreSQL's request for TLS (its protocol 3, SSLRequest): eight bytes, and one for an answer."""

from __future__ import annotations

from typing import Final

from probes.tls.preamble.talk import Agreed, Declined, agreed

_REQUEST: Final = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")
"""Length and code."""


class Postgres:
    """The client's side."""

    def __init__(self) -> None:
        self.outcome: Agreed | Declined | None = None

    def start(self) -> bytes:
        """Return the request."""
        return _REQUEST

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server; there are none for it."""
        match data[:1]:
            case b"S":
                self.outcome = agreed(data[1:])
            case b"N":
                self.outcome = Declined("speaks PostgreSQL's protocol, and takes no TLS")
            case b"E":
                self.outcome = Declined("answers the request for TLS with an error")
            case _:
                self.outcome = Declined("does not speak PostgreSQL's protocol")
        return b""
