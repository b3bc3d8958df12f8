"""When old records are deleted."""

from __future__ import annotations

from typing import Final

from config.model import DAY

PRUNING: Final = 3 * 3600.0 + 17 * 60.0
"""Seconds after midnight, UTC, at which old records are deleted."""


class Pruning:
    """Deleting is due at the start, since a daemon may live for less than a day, and then daily.

    It never is by a clock that is suspect: one that is far ahead would have all history deleted.
    """

    def __init__(self) -> None:
        self._day: int | None = None
        """Of the last time."""

    def is_due(self, now: float, *, suspect: bool) -> bool:
        """Whether old records are to be deleted at Unix time `now`; that it is done is noted."""
        day = int((now - PRUNING) // DAY)
        if suspect or day == self._day:
            return False
        self._day = day
        return True
