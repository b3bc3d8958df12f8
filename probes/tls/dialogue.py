"""A handshake and a dialogue within TLS, without I/O."""

from __future__ import annotations

from collections.abc import Sequence

from config.probing import ProbeTurn
from probes.observation import Presented, Unreachable
from probes.tls.handshake import Handshake
from probes.tls.preamble.dialogue import ProbeDialogue
from probes.tls.preamble.talk import Agreed, Declined


class DialogueWithin:
    """A handshake, and a dialogue behind it; over once `outcome` is set. Nothing is verified."""

    def __init__(self, handshake: Handshake, turns: Sequence[ProbeTurn]) -> None:
        """`handshake` is one that goes on."""
        self.outcome: Agreed | Declined | None = None
        self.dialogue = ProbeDialogue(turns, secured=True)
        self._handshake = handshake

    @property
    def presented(self) -> Presented | Unreachable | None:
        """The chain of the server, or why there is none."""
        return self._handshake.outcome

    @property
    def patience(self) -> float | None:
        """None: a dialogue has no part that need not come."""
        return None

    def start(self) -> bytes:
        """Return the ClientHello, or what comes before it."""
        return self._handshake.start()

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""
        if self._handshake.outcome is not None:
            return self._speak(b"", data)
        to_send = self._handshake.receive(data)
        presented = self.presented
        if isinstance(presented, Unreachable):
            self.outcome = Declined(presented.detail)
        elif presented is not None:
            to_send += self._speak(self.dialogue.start(), b"")
        return to_send

    def end(self) -> Agreed | Declined:
        """Return the outcome, now that the connection is closed."""
        self.outcome = self.outcome or self.dialogue.end()
        return self.outcome

    def _speak(self, to_send: bytes, received: bytes) -> bytes:
        spoken = self._handshake.speak(to_send, received)
        answer = self.dialogue.receive(spoken.received) if spoken.received else b""
        sent = spoken.to_send + (self._handshake.speak(answer, b"").to_send if answer else b"")
        self.outcome = self.dialogue.outcome
        if spoken.failed or spoken.ended:
            self.end()
        return sent
