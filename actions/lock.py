"""One transaction at a time for each component: locks among processes, which a crash releases."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from actions.world import World, write_all


@dataclass(frozen=True, slots=True)
class Busy:
    """Another process holds a component."""

    component: str
    holder: str
    """The process id of the holder, as it stands in the lock."""


@dataclass(frozen=True, slots=True)
class Locks:
    """The locks of several components."""

    world: World
    descriptors: tuple[int, ...]

    def release(self) -> None:
        """Release the components; raises OSError."""
        for descriptor in reversed(self.descriptors):
            self.world.close(descriptor)


def acquire(world: World, directory: str, components: Iterable[str]) -> Locks | Busy:
    """Lock all of `components` or none, in sorted order, so that two processes cannot wait for each other.

    The locks are files below `directory`, which exists. Raises OSError.
    """
    held: list[int] = []
    try:
        for component in sorted(set(components)):
            descriptor = _open(world, os.path.join(directory, f"{component}.lock"))
            held.append(descriptor)
            if not world.lock(descriptor, wait=False):
                holder = world.read_at(descriptor, 0).decode(errors="replace").strip()
                Locks(world, tuple(held)).release()
                return Busy(component, holder if holder.isdigit() else "unknown")
            world.truncate(descriptor, 0)
            write_all(world, descriptor, 0, f"{os.getpid()}\n".encode())
    except OSError:
        with suppress(OSError):
            Locks(world, tuple(held)).release()
        raise
    return Locks(world, tuple(held))


def _open(world: World, path: str) -> int:
    try:
        return world.open(path)
    except FileNotFoundError:
        pass
    try:
        return world.create(path)
    except FileExistsError:
        return world.open(path)
