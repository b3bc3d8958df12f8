"""The signal that wakes followers: a record was written, or the files of a component may be others."""

from __future__ import annotations

import threading
from collections.abc import Iterable


class FollowerNews:
    """Changes of files that were noticed, each with a number; any thread may tell and wait."""

    def __init__(self) -> None:
        self._told = threading.Condition()
        self._changes: dict[str, int] = {}
        """The number of the last change of each component's files."""

    def wake(self) -> None:
        """Wake everybody who waits."""
        with self._told:
            self._told.notify_all()

    def look_again(self, components: Iterable[str]) -> None:
        """Tell that the files of these components may be others."""
        with self._told:
            number = self._last() + 1
            self._changes.update(dict.fromkeys(components, number))
            self._told.notify_all()

    def changed_since(self, number: int) -> tuple[list[str], int]:
        """Return the components whose files may have changed after the change of that number, and the last number."""
        with self._told:
            return sorted(name for name, at in self._changes.items() if at > number), self._last()

    def wait(self, number: int, seconds: float) -> None:
        """Wait for so long at most; not at all where there was a change after that of this number."""
        with self._told:
            if self._last() == number:
                self._told.wait(seconds)

    def _last(self) -> int:
        return max(self._changes.values(), default=0)
