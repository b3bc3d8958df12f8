"""Notices that files change, and says where to look; it does not say what the file contains."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from itertools import chain
from typing import Final

from watchdog.observers.inotify_c import InotifyFD

from config.immutable import immutable
from config.text import printable
from monitor.batched import batched
from monitor.watch.kernel import Kernel, Notice, Sort
from monitor.watch.paths import PathGraph, see
from monitor.watch.poll import Signature, differing, names_in, signatures

GATHER: Final = 0.002
"""Seconds to wait for the rest of a burst after its first notice."""
PAUSE: Final = 0.010
"""Seconds between two calls, so that many changes a second cost little."""
SETTLE: Final = 0.2
"""Seconds that a new file's writer is given to close it, which is a notice of its own."""
CHANGE_LIMIT: Final = 20_000
"""Changes at once beyond which looking at everything is cheaper than knowing where."""
SLICE: Final = 200
"""Paths handled before the event loop gets its turn."""
POLL: Final = 2.0
"""Seconds between two comparisons of paths for which the kernel gives no notices."""
_TICK_NS: Final = 50_000_000


class WatchMode(StrEnum):
    """How changes are noticed."""

    INOTIFY = "inotify"
    POLLING = "polling"
    MIXED = "mixed"


@immutable
class WatchState:
    """How well changes are noticed now."""

    mode: WatchMode
    watched: int
    """Directories for which the kernel gives notices."""
    polled: int
    """Directories that must be polled."""
    reason: str
    """Why some must be, a sentence; empty where none must."""


@immutable
class FileChange:
    """Where to look again."""

    files: frozenset[str]
    """Watched files that may have changed, appeared or gone."""
    places: frozenset[str]
    """Where patterns may match anew: to be searched by `find(watches, under=place)`, and the result to be added."""
    since: float
    """Monotonic time of the first notice that led here."""


class Watcher:
    """Calls `on_change` where files may have changed, and `on_rescan` with the reason where nobody knows which.

    It lives on `loop`'s thread, where both are called. A rescan means to find everything again, `watch` it and look.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_change: Callable[[FileChange], None],
        on_rescan: Callable[[str], None],
        *,
        open_inotify: Callable[[], InotifyFD] = InotifyFD,
        poll_every: float = POLL,
    ) -> None:
        self._loop = loop
        self._on_change = on_change
        self._on_rescan = on_rescan
        self._poll_every = poll_every
        self._ways = PathGraph(see, self._watch_directory, self._leave)
        self._polled: dict[str, dict[str, Signature]] = {}
        self._reason = ""
        self._poller: asyncio.Task[None] | None = None
        self._entries: set[str] = set()
        self._places: set[str] = set()
        self._settling: dict[str, asyncio.TimerHandle] = {}
        self._flushing: asyncio.TimerHandle | None = None
        self._flushed = 0.0
        self._stopped = False
        self._kernel: Kernel | None = None
        try:
            self._kernel = Kernel(self._wake, open_inotify)
        except OSError as error:
            self._reason = _why(error)

    @property
    def state(self) -> WatchState:
        """How well changes are noticed now."""
        watched = len(self._kernel) if self._kernel else 0
        polled = len(self._polled)
        mode = (
            WatchMode.MIXED
            if polled and watched
            else WatchMode.POLLING
            if polled or not self._kernel
            else WatchMode.INOTIFY
        )
        return WatchState(mode, watched, polled, self._reason if mode is not WatchMode.INOTIFY else "")

    async def watch(self, files: Iterable[str], directories: Mapping[str, int | None]) -> None:
        """Watch exactly these, and make sure of what is watched already; a change that was missed is reported.

        `directories` is what `find` gave: a directory that was modified since is searched again.
        """
        files = set(files)
        for some in batched(self._ways.files - files, SLICE):
            self.discard(some)
            await asyncio.sleep(0)
        for some in batched(self._ways.listings - directories.keys(), SLICE):
            self.discard((), some)
            await asyncio.sleep(0)
        await self._make_sure()
        for some in batched(files - self._ways.files, SLICE):
            self.add(some, {})
            await asyncio.sleep(0)
        for some in batched(directories.keys() - self._ways.listings, SLICE):
            self.add((), {directory: directories[directory] for directory in some})
            await asyncio.sleep(0)

    def add(self, files: Iterable[str], directories: Mapping[str, int | None]) -> None:
        """Watch these too; from the return on, no change of them goes unnoticed."""
        for path in files:
            self._ways.add_file(path)
        places: set[str] = set()
        for path, modified in directories.items():
            if path not in self._ways.listings:
                self._ways.add_listing(path)
                if _modified_since(path, modified):
                    places.add(path)
        if places:
            self._places |= places
            self._flush_soon()

    def discard(self, files: Iterable[str], directories: Iterable[str] = ()) -> None:
        """Watch these no longer."""
        self._ways.discard(files, directories)

    async def stop(self) -> None:
        """Call nobody any more."""
        self._stopped = True
        for handle in (*self._settling.values(), self._flushing):
            if handle is not None:
                handle.cancel()
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.wait([self._poller])
        if self._kernel is not None:
            await self._loop.run_in_executor(None, self._kernel.stop)

    def _leave(self, directory: str) -> None:
        self._polled.pop(directory, None)
        if self._kernel is not None:
            self._kernel.unwatch(directory)

    def _watch_directory(self, directory: str) -> bool:
        """Watch the present file there, or poll it; return whether it was not watched before."""
        try:
            if self._kernel is not None:
                is_new = self._kernel.watch(directory)
                self._polled.pop(directory, None)
                return is_new
        except OSError as error:
            # A removed directory is noticed in the directory above, which was entered before.
            if error.errno in {errno.ENOENT, errno.ENOTDIR}:
                return False
            self._reason = _why(error)
        self._polled.setdefault(directory, {})
        if self._poller is None:
            self._poller = self._loop.create_task(self._poll())
        return False

    async def _make_sure(self) -> None:
        """Find changes without a notice: it may have been lost, or never given, as when a file system is mounted."""
        for directory in tuple(self._ways.directories):
            if directory not in self._ways.directories:
                continue
            if self._watch_directory(directory):
                self._entries.add(directory)
            await asyncio.sleep(0)
            for some in batched(self._ways.entries(directory), SLICE):
                self._entries |= self._ways.differing(some)
                await asyncio.sleep(0)
        if self._entries:
            self._flush_soon()

    def _wake(self) -> None:
        """Have the notices taken soon; called on watchdog's thread."""
        if not self._stopped:
            self._loop.call_soon_threadsafe(self._flush_soon)

    def _flush_soon(self) -> None:
        if self._flushing is None and not self._stopped:
            at = max(self._loop.time() + GATHER, self._flushed + PAUSE)
            self._flushing = self._loop.call_at(at, self._flush)

    def _flush(self) -> None:
        """Take all notices and call back."""
        self._flushing = None
        self._flushed = self._loop.time()
        since = time.monotonic()
        lost = False
        if self._kernel is not None:
            notices = self._kernel.take()
            since, lost = notices.since, notices.lost
            self._sift(notices.each)
        entries, self._entries = self._entries, set()
        places, self._places = self._places, set()
        if lost or len(entries) > CHANGE_LIMIT:
            self._on_rescan("notices of changes were lost" if lost else "too many changes at once")
            return
        concerned = self._ways.changed(entries)
        places |= concerned.places
        if concerned.files or places:
            self._on_change(FileChange(concerned.files, frozenset(places), since))

    def _sift(self, notices: Iterable[Notice]) -> None:
        """Note the entries that are complete; give the writers of the others time to close them."""
        created: set[str] = set()
        for notice in notices:
            if notice.sort is Sort.CREATED:
                created.add(notice.entry)
                self._entries.discard(notice.entry)
            elif notice.sort is Sort.DONE or not (notice.entry in created or notice.entry in self._settling):
                created.discard(notice.entry)
                self._entries.add(notice.entry)
        for entry in self._entries & self._settling.keys():
            self._settling.pop(entry).cancel()
        for entry in created:
            if len(self._settling) < CHANGE_LIMIT and _awaits_writer(entry):
                self._settle(entry)
            else:
                self._entries.add(entry)

    def _settle(self, entry: str) -> None:
        def settled() -> None:
            del self._settling[entry]
            self._entries.add(entry)
            self._flush_soon()

        if entry in self._settling:
            self._settling[entry].cancel()
        self._settling[entry] = self._loop.call_later(SETTLE, settled)

    async def _poll(self) -> None:
        """Compare paths that cannot be watched with their former state, as long as there are any."""
        while self._polled:
            await asyncio.sleep(self._poll_every)
            paths = {
                directory: (names_in(directory), *self._ways.entries(directory)) for directory in tuple(self._polled)
            }
            signed = await self._loop.run_in_executor(None, signatures, tuple(chain.from_iterable(paths.values())))
            for directory, compared in paths.items():
                if directory not in self._polled:
                    continue
                now = {path: signed[path] for path in compared}
                changed = differing(self._polled[directory], now)
                self._polled[directory] = now
                self._entries |= changed - {names_in(directory)}
                if names_in(directory) in changed:
                    self._places.update(self._ways.listings_at(directory))
            if self._entries or self._places:
                self._flush_soon()
        self._poller = None


def _awaits_writer(entry: str) -> bool:
    """Whether a name just created is a file of its own, whose content comes after it: no link of either kind."""
    try:
        status = os.lstat(entry)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _modified_since(directory: str, modified: int | None) -> bool:
    """Whether the names in `directory` may not be those listed when its modification time was `modified`."""
    try:
        now = os.stat(directory).st_mtime_ns
    except (OSError, ValueError):
        return False
    # The file system's clock ticks: a second change within one tick leaves the time as it is.
    return now != modified or time.time_ns() - now < _TICK_NS


def _why(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the kernel's limit fs.inotify.max_user_watches is reached"
    if error.errno == errno.EMFILE:
        return "the kernel's limit fs.inotify.max_user_instances is reached"
    if isinstance(error, PermissionError):
        return "directories that may not be listed cannot be watched"
    return printable(f"the kernel refuses a watch: {error.strerror}")
