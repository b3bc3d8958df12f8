"""A conversation behind a preamble: what is said in the clear first, and then the bytes of TLS."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from probes.tls.preamble.talk import MOST_BYTES, Agreed, Declined, Preamble


class TLSTalk(Protocol):
    """The client's side of a conversation in TLS."""

    @property
    def outcome(self) -> object:
        """What came of it; None while it goes on."""

    def start(self) -> bytes:
        """Return what is to be sent first."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""


T = TypeVar("T", bound=TLSTalk)


class Behind(Generic[T]):
    """The client's side of both; `talk` begins once the server agreed to it."""

    def __init__(self, preamble: Preamble | None, talk: T) -> None:
        self.talk = talk
        self.received = 0
        """Bytes from the server."""
        self.declined = ""
        """Why there is no TLS, a clause whose subject is the server; empty where it was not declined."""
        self._preamble = preamble

    @property
    def outcome(self) -> object:
        """What came of it; None while it goes on."""
        return self.declined or self.talk.outcome

    @property
    def patience(self) -> None:
        """Always None: whatever is awaited must come."""
        return None

    @property
    def has_begun(self) -> bool:
        """Whether the first bytes of TLS were sent."""
        return self._preamble is None and not self.declined

    def start(self) -> bytes:
        """Return what is to be sent first."""
        return self.talk.start() if self._preamble is None else self._go_on(self._preamble, self._preamble.start())

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""
        self.received += len(data)
        if self._preamble is None:
            return self.talk.receive(data)
        return self._go_on(self._preamble, self._preamble.receive(data))

    def _go_on(self, preamble: Preamble, to_send: bytes) -> bytes:
        match preamble.outcome:
            case Agreed():
                self._preamble = None
                return to_send + self.talk.start()
            case Declined(why):
                self.declined = why
                return b""
        if self.received > MOST_BYTES:
            self.declined = f"does not begin TLS within {MOST_BYTES} bytes in the clear"
            return b""
        return to_send
