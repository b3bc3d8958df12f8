"""One preamble behind the other: a proxy, the header of the PROXY protocol, the protocol of the server itself."""

from __future__ import annotations

from collections.abc import Sequence

from probes.tls.preamble.talk import Agreed, Declined, Preamble, agreed


class Chained:
    """The client's side of several preambles, at least one."""

    def __init__(self, parts: Sequence[Preamble]) -> None:
        self.outcome: Agreed | Declined | None = None
        self._parts = list(parts)

    def start(self) -> bytes:
        """Return what is to be sent first."""
        return self._go_on(self._parts[0].start())

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the proxy or the server, return those for it."""
        return self._go_on(self._parts[0].receive(data))

    def _go_on(self, to_send: bytes) -> bytes:
        """Begin each part once the one before it is over, with the bytes that came behind its end."""
        left = b""
        while isinstance(over := self._parts[0].outcome, Agreed):
            left += over.left
            del self._parts[0]
            if not self._parts:
                self.outcome = agreed(left)
                return to_send
            to_send += self._parts[0].start()
            if left and self._parts[0].outcome is None:
                to_send += self._parts[0].receive(left)
                left = b""
        self.outcome = over
        return to_send
