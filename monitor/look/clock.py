"""Steps of the wall clock: whatever was judged by the clock of before is judged again at once."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from config.text import Log
from monitor.state.bus import Bus
from monitor.state.messages import ClockStepped
from monitor.state.pending import CLOCK_TRIED, ClockSteps

log: Log = logging.getLogger("certvigil")

BEAT: Final = 1.0
"""Seconds between two comparisons of the clocks."""
STEP: Final = 30.0
"""Seconds by which the wall clock may part from the steady one: a clock that is slewed does not."""


class ClockMonitor:
    """Compares the wall clock with the steady one, and says when it was put forward or back."""

    def __init__(self, steps: ClockSteps, bus: Bus) -> None:
        """Note each step in `steps`."""
        self._steps = steps
        self._bus = bus
        self._offset = time.time() - time.monotonic()

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            await asyncio.sleep(BEAT)
            self.compare(time.time(), time.monotonic())

    def compare(self, now: float, steady: float) -> None:
        """Compare the clocks; a step is judged by at once, and again once nothing waits for the clock any more."""
        by = now - steady - self._offset
        if abs(by) > STEP:
            log.warning("the clock was put forward or back, by %.0f s: all is judged again", by)
            self._offset += by
            self._steps.stepped(steady)
            self._bus.send(ClockStepped())
        elif self._steps.stepped_at is not None and steady - self._steps.stepped_at >= CLOCK_TRIED:
            self._steps.forget()
            self._bus.send(ClockStepped())
