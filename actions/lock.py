"""One transaction at a time for each component: locks among processes, which a crash releases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from actions.world import World, write_all
from config.immutable import immutable
from config.text import printable

_BETWEEN: Final = 0.25
"""Seconds between two attempts to have a lock."""


@immutable
class Busy:
    """Another process holds a component."""

    component: str
    holder: str
    """The process id of the holder, as it stands in the lock."""
    act: str = ""
    """The act of the holder, and for whom; printable, empty where it is not known."""

    @property
    def sentence(self) -> str:
        """Which process is at work on what; printable."""
        return f"process {self.holder} is at work on {self._work}"

    @property
    def phrase(self) -> str:
        """The process and its work, as the object of a sentence; printable."""
        return f"process {self.holder}, which is at work on {self._work}"

    @property
    def _work(self) -> str:
        return f"{self.component} ({self.act})" if self.act else self.component


@immutable
class Locks:
    """The locks of several components."""

    world: World
    descriptors: tuple[int, ...]

    def release(self) -> None:
        """Release the components; raises OSError."""
        for descriptor in reversed(self.descriptors):
            self.world.close(descriptor)


def acquire(world: World, directory: str, components: Iterable[str], act: str = "") -> Locks | Busy:
    """Lock all of `components` or none, in sorted order, so that two processes cannot wait for each other.

    The locks are files below `directory`, which exists; `act` tells others what is done, and for whom. Raises OSError.
    """
    held: list[int] = []
    try:
        for component in sorted(set(components)):
            descriptor = _open(world, os.path.join(directory, f"{component}.lock"))
            held.append(descriptor)
            if not world.lock(descriptor, wait=False):
                holder, _, doing = world.read_at(descriptor, 0).decode(errors="replace").strip().partition(" ")
                Locks(world, tuple(held)).release()
                return Busy(component, holder if holder.isdigit() else "unknown", printable(doing, 300))
            world.truncate(descriptor, 0)
            write_all(world, descriptor, 0, f"{os.getpid()} {act}".strip().encode() + b"\n")
    except OSError:
        with suppress(OSError):
            Locks(world, tuple(held)).release()
        raise
    return Locks(world, tuple(held))


def await_others(
    world: World,
    directory: str,
    components: Iterable[str],
    *,
    most: float,
    told: Callable[[Busy], None],
    gives_up: Callable[[], bool],
) -> Busy | None:
    """Return None once no other process is at work on `components`; else who still is after `most` seconds.

    `told` receives whoever is waited for, each once; whoever `gives_up` waits no longer. Raises OSError.
    """
    names, end, known = tuple(components), world.monotonic() + most, None
    while isinstance(locks := acquire(world, directory, names), Busy):
        if locks != known:
            told(locks)
            known = locks
        if gives_up() or world.monotonic() >= end:
            return locks
        world.sleep(_BETWEEN)
    locks.release()
    return None


def _open(world: World, path: str) -> int:
    try:
        return world.open(path)
    except FileNotFoundError:
        pass
    try:
        return world.create(path)
    except FileExistsError:
        return world.open(path)
