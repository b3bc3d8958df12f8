"""The shape of a preamble: a conversation in the clear, without I/O, after which the TLS handshake begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from config.immutable import immutable
from config.vocabulary import UnreachableReason

MOST_BYTES: Final = 64 * 1024
"""That are taken from one server in the clear."""


@immutable
class Agreed:
    """The server waits for the ClientHello, or for what comes before it behind a proxy."""

    left: bytes = b""
    """From the server behind a proxy, which may speak first; else nothing."""


@immutable
class Declined:
    """There will be no handshake."""

    why: str
    """A clause without its subject that quotes nothing the other side said: that may hold the time, or be hostile."""
    by_proxy: bool = False
    """Whether it is a proxy that says so, and not the server."""
    reason: UnreachableReason | None = None
    """None where the side that declines does not do what is asked of its kind: no proxy, or no TLS there."""


def declines(why: str) -> Declined:
    """Return the end of a conversation with a server that speaks the protocol, and does not begin TLS."""
    return Declined(why, reason=UnreachableReason.TLS_DECLINED)


class Preamble(Protocol):
    """The client's side; nothing more is received once `outcome` is set."""

    @property
    def outcome(self) -> Agreed | Declined | None:
        """None while the server has more to say."""

    def start(self) -> bytes:
        """Return what is to be sent first, nothing where the server speaks first."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""


class OneAnswer:
    """The client's side of a protocol in which one request has one answer."""

    def __init__(self, request: bytes, read: Callable[[bytes], Agreed | Declined | None]) -> None:
        """`read` takes all bytes that came so far, and returns None while the answer is not whole."""
        self.outcome: Agreed | Declined | None = None
        self._request = request
        self._read = read
        self._received = bytearray()

    def start(self) -> bytes:
        """Return the request."""
        return self._request

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server; there are none for it."""
        self._received += data
        self.outcome = self._read(bytes(self._received))
        return b""


def agreed(left: bytes) -> Agreed | Declined:
    """Return that the server agreed, unless bytes are `left` behind its agreement.

    No server speaks before the ClientHello: somebody on the way has put them in, to be read as if they came through TLS
    (CVE-2021-38371, CVE-2021-23222).
    """
    return Declined("sent more in the clear behind its agreement to begin TLS") if left else Agreed()
