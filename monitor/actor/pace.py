"""How often the daemon has the actor do what costs something, however often it asks."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final

from actions.world import World

BETWEEN: Final = 60.0
"""Seconds."""


@dataclass(slots=True)
class Pace:
    """When it was last done."""

    _at: float | None = None
    """On a clock that never jumps."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def may(self, world: World) -> bool:
        """Return whether it may be done now, which then counts as done."""
        with self._lock:
            now = world.monotonic()
            if self._at is not None and now - self._at < BETWEEN:
                return False
            self._at = now
            return True
