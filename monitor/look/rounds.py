"""Starting looks when they are due: each name at its own time, and never two looks at the same name at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable

from monitor.host.schedule import Agenda


class Rounds:
    """The looks that are due, and those under way; times are monotonic."""

    def __init__(
        self, look: Callable[[str, float], Coroutine[None, None, None] | None], pause: Callable[[str], float]
    ) -> None:
        """Begin without any.

        `look` returns the look at a name that is due since a time; None where there is nothing to look at any more. A
        name that is due while it is being looked at is due again `pause` seconds later.
        """
        self._look = look
        self._pause = pause
        self._agenda = Agenda()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

    def hasten(self, names: Iterable[str], at: float | None = None) -> None:
        """Make these names due at `at` at the latest, which is now where it is not given."""
        at = time.monotonic() if at is None else at
        for name in names:
            self._agenda.hasten(name, at)
        self._wake.set()

    def give_up(self, name: str) -> None:
        """End the look under way at a name, if there is one."""
        task = self._under_way.pop(name, None)
        if task is not None:
            task.cancel()

    def forget(self, name: str) -> None:
        """End the look at a name, and make it due nevermore."""
        self.give_up(name)
        self._agenda.forget(name)

    def is_current(self, name: str) -> bool:
        """Whether the task that asks is the look under way at a name, which nobody has given up."""
        return self._under_way.get(name) is asyncio.current_task()

    async def run(self) -> None:
        """Start looks until cancelled."""
        try:
            while True:
                self._wake.clear()
                for name, lag in tuple(self._agenda.take(now := time.monotonic())):
                    self._start(name, now - lag)
                due = self._agenda.next()
                try:
                    async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    def _start(self, name: str, due: float) -> None:
        if name in self._under_way:
            self._agenda.schedule(name, time.monotonic() + self._pause(name))
            return
        look = self._look(name, due)
        if look is not None:
            self._under_way[name] = asyncio.create_task(self._run(name, look))

    async def _run(self, name: str, look: Coroutine[None, None, None]) -> None:
        try:
            await look
        finally:
            if self.is_current(name):
                del self._under_way[name]
