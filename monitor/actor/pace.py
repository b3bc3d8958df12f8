"""The bound on costly work that the daemon causes in the actor, however often it asks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from actions.world import World

BETWEEN: Final = 60.0
"""Seconds between two times that the daemon's requests have leftovers attended to."""
SPAN: Final = 3600.0
"""Seconds."""
MOST_RECORDS: Final = 60
"""Records about one component that the daemon's requests may add to the journal within `SPAN`, transactions aside."""


@dataclass(slots=True)
class Pace:
    """The recent costs of the daemon's requests, on a clock that never jumps."""

    most_records: int = MOST_RECORDS
    _at: float | None = None
    """When leftovers were attended to last."""
    _records: dict[str, deque[float]] = field(default_factory=dict)
    """When the last records about each component were added."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def may(self, world: World) -> bool:
        """Return whether leftovers may be attended to now, which then counts as done."""
        with self._lock:
            now = world.monotonic()
            if self._at is not None and now - self._at < BETWEEN:
                return False
            self._at = now
            return True

    def add(self, components: Iterable[str], world: World) -> None:
        """Count a record about these components."""
        with self._lock:
            for name in components:
                self._records.setdefault(name, deque(maxlen=self.most_records)).append(world.monotonic())

    def wait(self, components: Iterable[str], world: World) -> float:
        """Return in how many seconds a record about each of these components may be added; zero for now."""
        with self._lock:
            now = world.monotonic()
            full = [each for name in components if len(each := self._records.get(name, deque())) >= self.most_records]
            return max((each[0] + SPAN - now for each in full if each[0] + SPAN > now), default=0.0)
