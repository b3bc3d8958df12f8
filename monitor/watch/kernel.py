"""The kernel's notices, by the lower layer of watchdog: one inotify watch per directory, none below it."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from itertools import count
from typing import Final

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from config.immutable import immutable

QUEUE_LIMIT: Final = 50_000
"""Notices that may wait for the event loop."""

# Not IN_MODIFY: a busy log beside the certificates would keep us busy too. Who rewrites a file in place closes it.
MASK: Final = Mask(
    InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_DONT_FOLLOW
    | InotifyConstants.IN_EXCL_UNLINK
)


class Sort(Enum):
    """The kind of an event."""

    CREATED = "created"
    """A file or link came into being; if it is a file, its writer has yet to close it."""
    TOUCHED = "touched"
    """Mode, owner, times or link count changed; writers do that too before they are done."""
    DONE = "done"
    """Everything else: the file there is complete now, or gone."""


@immutable
class Notice:
    """Something happened to an entry of a directory, or to the directory itself."""

    entry: str
    """Its path, with no link on the way."""
    sort: Sort


@immutable
class Notices:
    """The events since the last call, in order."""

    each: tuple[Notice, ...]
    since: float
    """Monotonic time of the first."""
    lost: bool
    """There were more, and nobody knows which."""


class Kernel:
    """Watches directories; `wake` is called on another thread once there are notices to take.

    Raises OSError where the kernel gives no instance. Everything but `wake` happens on the caller's thread.
    """

    def __init__(self, wake: Callable[[], None], open_inotify: Callable[[], InotifyFD] = InotifyFD) -> None:
        self._wake = wake
        self._inotify = open_inotify()
        self._ids = count()
        self._watches: dict[str, tuple[WatchDescriptor, CallbackId]] = {}
        # Two where a directory is mounted at a second place.
        self._directories: dict[WatchDescriptor, tuple[str, ...]] = {}
        self._queue: deque[tuple[WatchDescriptor, Mask, bytes]] = deque()
        self._since: float | None = None
        self._lost = False
        self._inotify.start()

    def __len__(self) -> int:
        return len(self._watches)

    def __contains__(self, directory: str) -> bool:
        return directory in self._watches

    def watch(self, directory: str) -> bool:
        """Watch what stands at `directory` now; return whether it is another directory than was watched there.

        Raises OSError where it cannot be watched; what was watched there is watched no longer.
        """
        known = self._watches.get(directory)
        identifier = CallbackId(next(self._ids))
        try:
            descriptor = self._inotify.add_callback(os.fsencode(directory), MASK, self, identifier)
            if descriptor == -1:
                # This is how watchdog puts EACCES.
                self._inotify.remove_callbacks([(descriptor, identifier)])
                raise PermissionError(f"{directory!r} cannot be watched")
        except OSError:
            self.unwatch(directory)
            raise
        if known is not None:
            self._remove(directory, *known)
        self._watches[directory] = (descriptor, identifier)
        self._directories[descriptor] = (*self._directories.get(descriptor, ()), directory)
        return known is None or known[0] != descriptor

    def unwatch(self, directory: str) -> None:
        """Watch that directory no longer."""
        known = self._watches.pop(directory, None)
        if known is not None:
            self._remove(directory, *known)

    def take(self) -> Notices:
        """Return each event once."""
        since, self._since = self._since, None
        lost, self._lost = self._lost, False
        notices: list[Notice] = []
        # Events that arrive meanwhile wake us again.
        for _ in range(len(self._queue)):
            descriptor, mask, name = self._queue.popleft()
            notices += [_notice(directory, mask, name) for directory in self._directories.get(descriptor, ())]
            if mask & InotifyConstants.IN_IGNORED:
                for directory in self._directories.pop(descriptor, ()):
                    del self._watches[directory]
        return Notices(tuple(notices), time.monotonic() if since is None else since, lost)

    def stop(self) -> None:
        """Watch nothing any more."""
        self._inotify.stop()
        self._inotify.join()

    def on_event(self, event: InotifyEvent) -> None:
        """Take the events that watchdog's thread has read."""
        self._put(event.wd, event.mask, event.name)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """Take that the kernel watches a directory no longer, since it is gone."""
        self._put(wd, InotifyConstants.IN_IGNORED, b"")

    def on_queue_overflow(self) -> None:
        """Take that the kernel had more to tell than it kept."""
        self._lost = True
        self._signal()

    def _put(self, descriptor: WatchDescriptor, mask: Mask, name: bytes) -> None:
        if len(self._queue) >= QUEUE_LIMIT and not mask & InotifyConstants.IN_IGNORED:
            self._lost = True
        else:
            self._queue.append((descriptor, mask, name))
        self._signal()

    def _signal(self) -> None:
        if self._since is None:
            self._since = time.monotonic()
            self._wake()

    def _remove(self, directory: str, descriptor: WatchDescriptor, identifier: CallbackId) -> None:
        self._inotify.remove_callbacks([(descriptor, identifier)])
        rest = list(self._directories.get(descriptor, ()))
        if directory in rest:
            rest.remove(directory)
        if rest:
            self._directories[descriptor] = tuple(rest)
        else:
            self._directories.pop(descriptor, None)


def _notice(directory: str, mask: Mask, name: bytes) -> Notice:
    entry = os.path.join(directory, os.fsdecode(name)) if name else directory
    if mask & InotifyConstants.IN_CREATE and not mask & InotifyConstants.IN_ISDIR:
        return Notice(entry, Sort.CREATED)
    return Notice(entry, Sort.TOUCHED if mask & InotifyConstants.IN_ATTRIB else Sort.DONE)
