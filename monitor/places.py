"""Places for looks at endpoints: a bounded number at once, and one that answers never waits for one that does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

PATIENCE: Final = 0.5
"""Seconds after which a look counts as slow."""
SLOW_FOR_EACH: Final = 12
"""Slow looks that may be under way for each place of the others: they cost a socket, and hardly anything else."""


class Places:
    """Two bounded pools: one for looks that are over within `PATIENCE`, one for those that are slow.

    A look that lasts longer leaves the first pool at once. It goes on where the second has room, else it is broken off
    and begun anew there when its turn comes. From then on it begins in the second, until it is over within `PATIENCE`.
    So an endpoint that does not answer holds a place of the first pool for `PATIENCE` seconds, once.
    """

    def __init__(self, at_once: int) -> None:
        """Let `at_once` quick looks be under way, and `SLOW_FOR_EACH` times as many slow ones."""
        self._slow: set[str] = set()
        self.resize(at_once)

    def resize(self, at_once: int) -> None:
        """Let so many looks be under way from now on; those that are under way go on beside them."""
        self._quick_places = asyncio.Semaphore(at_once)
        self._slow_places = asyncio.Semaphore(at_once * SLOW_FOR_EACH)

    def forget(self, name: str) -> None:
        """Know nothing any more of how long looks at `name` take."""
        self._slow.discard(name)

    def forget_all_but(self, most: int) -> None:
        """Know nothing any more where that would be of more than `most`."""
        if len(self._slow) > most:
            self._slow.clear()

    async def take(self, name: str, look: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `look` returns, begun when there is a place for `name`; perhaps it is begun twice."""
        loop = asyncio.get_running_loop()
        looking: asyncio.Task[T] | None = None
        try:
            if name not in self._slow:
                async with self._quick_places:
                    looking = loop.create_task(look())
                    await asyncio.wait((looking,), timeout=PATIENCE)
                if looking.done():
                    return looking.result()
                self._slow.add(name)
                if self._slow_places.locked():
                    looking.cancel()
                    looking = None
            async with self._slow_places:
                begun = loop.time()
                if looking is None:
                    looking = loop.create_task(look())
                    await asyncio.wait((looking,))
                    if loop.time() - begun <= PATIENCE:
                        self._slow.discard(name)
                return await looking
        finally:
            if looking is not None:
                looking.cancel()
