"""The schedule of looks: a heap on the monotonic clock, which no clock correction can silence."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterator


class Agenda:
    """Each name is due once; scheduling it again moves it."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._due)

    def schedule(self, name: str, at: float) -> None:
        """Make `name` due at monotonic time `at`, whenever it was due before."""
        self._due[name] = at
        heapq.heappush(self._heap, (at, name))
        # Entries that were moved stay in the heap until their time: rebuild before they outnumber the others.
        if len(self._heap) > 4 * len(self._due) + 64:
            self._heap = [(due, each) for each, due in self._due.items()]
            heapq.heapify(self._heap)

    def hasten(self, name: str, at: float) -> None:
        """Make `name` due at `at` at the latest."""
        if self._due.get(name, float("inf")) > at:
            self.schedule(name, at)

    def forget(self, name: str) -> None:
        """Make `name` due nevermore."""
        self._due.pop(name, None)

    def take(self, now: float) -> Iterator[tuple[str, float]]:
        """Yield each entry that is due at monotonic time `now`, with its lag in seconds, and forget it."""
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            if self._due.get(name) == at:
                del self._due[name]
                yield name, now - at

    def next(self) -> float | None:
        """Return when something is due next, None where nothing is."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None


def spread(name: str, interval: float) -> float:
    """Return a share of `interval`, always the same for `name`, so that looks do not come all at once."""
    return interval * (zlib.crc32(name.encode()) / 2**32)
