"""Whether the wall clock can be believed: by a wrong clock, a good certificate looks expired and a bad one good."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from actions.journal import Record
from actions.world import World
from probes.judge.time import moment

JUMP: Final = 60.0
"""Seconds by which the wall clock may differ from the monotonic clock: more than any daemon slews at once."""
DISTRUST: Final = 600.0
"""Seconds after a jump for which the clock is not believed."""


class ClockWatch:
    """Watches the clock of a world from its own creation on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._offset = self._now()
        self._jumped_at: float | None = None
        self._by = 0.0

    def _now(self) -> float:
        return self._world.now() - self._world.monotonic()

    def suspicion(self, records: Iterable[Record], *, required: bool) -> str | None:
        """Return why the clock is not believed, a sentence; None where it is.

        `records` are those of the journal. With `required`, the kernel must count the clock as synchronised.
        """
        # The greatest time, not the last: the last record may have been written by the wrong clock already.
        last = max((each.at for each in records), default=0.0)
        offset = self._now()
        if abs(offset - self._offset) > JUMP:
            self._by, self._offset, self._jumped_at = offset - self._offset, offset, self._world.monotonic()
        if self._jumped_at is not None and self._world.monotonic() - self._jumped_at < DISTRUST:
            return f"the clock has jumped by {self._by:+.0f} s within the last {DISTRUST / 60:.0f} minutes"
        if last > self._world.now() + JUMP:
            # No difference of times: it would be another one with each second.
            return f"the clock stands before an entry of the journal, of {moment(last)}"
        if required and self._world.synchronised() is False:
            return "the kernel does not count the clock as synchronised"
        return None
