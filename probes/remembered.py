"""Remembering results by a short key: unlike `functools.lru_cache`, it keeps no argument alive."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Remembered(Generic[Result]):
    """The results of a pure function, the ones used last, by keys that stand for large arguments."""

    def __init__(self, most: int) -> None:
        """Keep so many results."""
        self._most = most
        self._results: dict[Hashable, Result] = {}
        """The one used last stands last."""
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """Return the result of that key, which `make` gives where it is not kept; threads may both make one."""
        with self._lock:
            if key in self._results:
                self._results[key] = self._results.pop(key)
                return self._results[key]
        made = make()
        with self._lock:
            self._results[key] = made
            if len(self._results) > self._most:
                del self._results[next(iter(self._results))]
        return made
