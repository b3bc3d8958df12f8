"""A dialogue that a module of `/probe` describes, turn by turn, without I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from config.probing import ProbeTurn
from probes.tls.preamble.talk import MOST_BYTES, Agreed, Declined, agreed

MOST_LINES: Final = 200
"""That are compared with what is expected."""
LONGEST_LINE: Final = 256
"""Characters of a line that are compared: a regular expression must not take long, whatever a server says."""
UNMET: Final = "did not say what the module expects"
_GROUP: Final = re.compile(r"\$\{([0-9])\}|\$([0-9])")


class ProbeDialogue:
    """The client's side of the turns; over once `outcome` is set."""

    def __init__(self, turns: Sequence[ProbeTurn], *, secured: bool = False) -> None:
        """Behind the last turn TLS begins, unless all of it is `secured` already."""
        self.outcome: Agreed | Declined | None = None
        self.unmatched: ProbeTurn | None = None
        """The turn whose expectation was not met."""
        self._secured = secured
        self._turns = list(turns)
        self._received = bytearray()
        self._lines = 0

    def start(self) -> bytes:
        """Return what is to be sent first, nothing where the server speaks first."""
        return self._go_on()

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""
        self._received += data
        to_send = self._go_on()
        if self.outcome is None and len(self._received) > MOST_BYTES:
            self._miss()
        return to_send

    def end(self) -> Agreed | Declined:
        """Return the outcome, now that nothing more comes."""
        if self.outcome is None:
            self._miss()
        assert self.outcome is not None  # noqa: S101 (it was just set)
        return self.outcome

    def _go_on(self) -> bytes:
        to_send = b""
        while self._turns and self.outcome is None:
            turn = self._turns[0]
            met = self._meets(turn)
            if met is None:
                return to_send
            del self._turns[0]
            if turn.send:
                to_send += _GROUP.sub(lambda match, met=met: _group(met, int(match[1] or match[2])), turn.send).encode()  # type: ignore[misc]
                to_send += b"\n"
        if self.outcome is None:
            self.outcome = Agreed() if self._secured else agreed(bytes(self._received))
        return to_send

    def _meets(self, turn: ProbeTurn) -> tuple[str, ...] | None:
        """Return the groups of what the server said as expected; None where it has not said that yet, or says other."""
        if turn.expect_bytes:
            count = len(turn.expect_bytes)
            if len(self._received) < count:
                return None
            came = bytes(self._received[:count])
            del self._received[:count]
            if came != turn.expect_bytes:
                self._miss()
                return None
            return ()
        if not turn.expect:
            return ()
        while (line := self._next_line()) is not None:
            match = re.search(turn.expect, line)
            if match is not None:
                return (match[0], *(each or "" for each in match.groups()))
            self._lines += 1
            if self._lines > MOST_LINES:
                self._miss()
                break
        return None

    def _next_line(self) -> str | None:
        line, end, rest = self._received.partition(b"\n")
        if not end:
            return None
        self._received = rest
        # As the other exporter takes lines: without their ends.
        return line.removesuffix(b"\r")[:LONGEST_LINE].decode("utf-8", errors="replace")

    def _miss(self) -> None:
        self.unmatched = self._turns[0]
        expected = self.unmatched.expect or self.unmatched.expect_bytes.decode("utf-8", errors="replace")
        self.outcome = Declined(f"{UNMET}: {expected}")


def _group(groups: Sequence[str], number: int) -> str:
    # A line of the server must not end ours.
    return groups[number].replace("\n", "").replace("\r", "") if number < len(groups) else ""
