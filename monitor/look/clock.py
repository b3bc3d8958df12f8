"""Steps of the wall clock: whatever was judged by the clock of before is judged again at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from config.text import Log
from monitor.state.bus import Bus
from monitor.state.messages import ClockStepped
from monitor.state.pending import ClockSteps
from probes.clock import is_synchronised

log: Log = logging.getLogger("certvigil")

BEAT: Final = 1.0
"""Seconds between two comparisons of the clocks."""
STEP: Final = 30.0
"""Seconds by which the wall clock may part from the steady one: a clock that is slewed does not."""


class ClockMonitor:
    """Compares the wall clock with the steady one, and says when it was put forward or back."""

    def __init__(self, steps: ClockSteps, bus: Bus, synchronised: Callable[[], bool | None] = is_synchronised) -> None:
        """Note each step in `steps`; `synchronised` tells whether the clock is known to be right."""
        self._steps = steps
        self._bus = bus
        self._synchronised = synchronised
        self._offset = time.time() - time.monotonic()

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            await asyncio.sleep(BEAT)
            self.compare(time.time(), time.monotonic())

    def compare(self, now: float, steady: float) -> None:
        """Compare the clocks; a step is judged by at once, and again once nothing waits for the clock any more.

        Nothing waits any more when the clock is known to be right after the step, as where a virtual machine was
        paused, when it was left alone for long enough, or when it was stepped again and again for too long.
        """
        by = now - steady - self._offset
        has_stepped = abs(by) > STEP
        if has_stepped:
            log.warning("the clock was put forward or back, by %.0f s: all is judged again", by)
            self._offset += by
            self._steps.stepped(steady)
        is_awaited = self._steps.stepped_at is not None and not has_stepped
        is_over = self._steps.is_tried(steady) or (is_awaited and bool(self._synchronised()))
        if is_over:
            self._steps.forget()
        if has_stepped or is_over:
            self._bus.send(ClockStepped())
