"""Places for looks at endpoints: a bounded number at once, and one that answers never waits for one that does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

PATIENCE: Final = 0.1
"""Seconds after which a look that goes on gives its place to the next."""
SLOW_FOR_EACH: Final = 10
"""Slow looks, and as many at what did not answer, that may be under way for each place of the others: they cost a
socket, and hardly anything else."""


class Places:
    """Three bounded pools: where each look begins, where one goes on that is slow, and one for what does not answer.

    A look that lasts longer than `PATIENCE` leaves the first pool. It goes on where the second has room, else it is
    broken off, and begun anew in the third when its turn comes. In the third begin the looks at all that did not answer
    the last time. So an endpoint that does not answer holds a place of the first pool for `PATIENCE` seconds and one of
    the second for one look, and then keeps nobody waiting but its like.
    """

    def __init__(self, at_once: int) -> None:
        """Let `at_once` looks be in the first pool, and `SLOW_FOR_EACH` times as many in each of the others."""
        self._silent: set[str] = set()
        self.resize(at_once)

    def resize(self, at_once: int) -> None:
        """Let so many looks be under way from now on; those that are under way go on beside them."""
        self._first = asyncio.Semaphore(at_once)
        self._slow = asyncio.Semaphore(at_once * SLOW_FOR_EACH)
        self._waiting = asyncio.Semaphore(at_once * SLOW_FOR_EACH)

    def forget(self, name: str) -> None:
        """Know nothing any more of whether `name` answers."""
        self._silent.discard(name)

    def forget_all_but(self, most: int) -> None:
        """Know nothing any more where that would be of more than `most`."""
        if len(self._silent) > most:
            self._silent.clear()

    async def take(self, name: str, look: Callable[[], Coroutine[Any, Any, T]], silent: Callable[[T], bool]) -> T:
        """Return what `look` returns, begun when there is a place for `name`; perhaps it is begun twice.

        Where that is `silent`, nobody answered until the time was over.
        """
        found = await (self._look_again(look) if name in self._silent else self._look(look))
        if silent(found):
            self._silent.add(name)
        else:
            self._silent.discard(name)
        return found

    async def _look(self, look: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with self._first:
            looking = asyncio.get_running_loop().create_task(look())
            try:
                await asyncio.wait((looking,), timeout=PATIENCE)
            except asyncio.CancelledError:
                looking.cancel()
                raise
        try:
            if looking.done():
                return looking.result()
            if not self._slow.locked():
                async with self._slow:
                    return await looking
        finally:
            looking.cancel()
        return await self._look_again(look)

    async def _look_again(self, look: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with self._waiting:
            return await look()
