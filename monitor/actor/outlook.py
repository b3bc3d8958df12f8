"""Noticing that the files of components change, on behalf of a daemon that may not watch their directories."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

from config.model import Config
from config.text import Log, printable
from monitor.watch.watcher import FileChange, Watcher

log: Log = logging.getLogger("certvigil.actor")

REFRESH: Final = 5.0
"""Seconds between two looks whether the configuration is another."""


class DirectoryWatch:
    """Watches the files of all components, on a thread of its own, and calls `changed` with their names there."""

    def __init__(self, config: Callable[[], Config], changed: Callable[[Iterable[str]], None]) -> None:
        self._config = config
        self._changed = changed
        self._thread: threading.Thread | None = None
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._components: Mapping[str, frozenset[str]] = {}
        """Of each path, in whose set it is."""

    def start(self) -> None:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._live, name="outlook", daemon=True)
        self._thread.start()

    def stop(self, within: float) -> None:
        """Watch no more; it takes `within` seconds at most."""
        self._ended = True
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            # It may have ended by itself.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)
        if self._thread is not None:
            self._thread.join(within)

    def _live(self) -> None:
        try:
            asyncio.run(self._watch())
        except asyncio.CancelledError:
            return
        except Exception:
            # The daemon looks at unwatched files now and then all the same.
            log.exception("nothing is watched any more, for a reason that was not foreseen")

    async def _watch(self) -> None:
        self._task, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        if self._ended:
            # Nobody knew yet whom to tell.
            return
        watcher = Watcher(self._loop, self._notice, self._lost)
        try:
            while True:
                config = await self._loop.run_in_executor(None, self._config)
                components: dict[str, frozenset[str]] = {}
                for target in config.files:
                    for path in (target.path, *target.password_files):
                        components[path] = components.get(path, frozenset()) | {target.component or ""}
                new = components.keys() - self._components.keys()
                self._components = components
                await watcher.watch(components, {})
                if new:
                    # Whoever looked at them before they were watched may have looked too early.
                    self._changed(frozenset[str]().union(*(components[path] for path in new)))
                await asyncio.sleep(REFRESH)
        finally:
            await watcher.stop()

    def _notice(self, change: FileChange) -> None:
        names = frozenset[str]().union(*(self._components.get(path, ()) for path in change.files))
        if names:
            self._changed(names)

    def _lost(self, why: str) -> None:
        log.info("every component is to be looked at again: %s", printable(why))
        self._changed(frozenset[str]().union(*self._components.values()))
