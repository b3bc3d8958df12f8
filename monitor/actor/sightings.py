"""Since when the actor itself has seen a fact: kept in its memory, so that nobody else can set it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final

from config.immutable import immutable

JUMP: Final = 5.0
"""Seconds by which the wall clock may differ from the steady clock; beyond them, earlier looks do not count."""
FORGOTTEN: Final = 6 * 3600.0
"""Seconds without a look after which earlier looks do not count: it may have been otherwise meanwhile."""


@immutable
class _Memory:
    """The results of the looks at one component so far."""

    circumstances: Hashable
    offset: float
    """Of the wall clock to the steady one, seconds."""
    at: float
    """Unix time of the last look."""
    since: Mapping[Hashable, float]


@dataclass(slots=True)
class Sightings:
    """First sights, by component."""

    _memories: dict[str, _Memory] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(
        self, component: str, circumstances: Hashable, seen: Collection[Hashable], now: float, steady: float
    ) -> Mapping[Hashable, float]:
        """Note the result of one look at Unix time `now`; return since when each part of it was seen at every look.

        `steady` is the time on a clock that never jumps. Counting starts anew where the circumstances of the look
        differ from those of the look before, or where a clock was changed.
        """
        with self._lock:
            before = self._memories.get(component)
            known: Mapping[Hashable, float] = {}
            if (
                before is not None
                and before.circumstances == circumstances
                and abs(now - steady - before.offset) <= JUMP
                and 0 <= now - before.at <= FORGOTTEN
            ):
                known = before.since
            since = {each: known.get(each, now) for each in seen}
            # By the offset of the first look, so that a clock is not put forward in steps that are too small to see.
            offset = before.offset if before is not None and known else now - steady
            self._memories[component] = _Memory(circumstances, offset, now, since)
            return since
