"""One transaction at a time for each component, whoever runs it: locks that a crash gives back."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from actions.world import World, write_all


@dataclass(frozen=True, slots=True)
class Busy:
    """Someone else holds a component."""

    component: str
    holder: str
    """What the holder wrote into the lock: its process id."""


@dataclass(frozen=True, slots=True)
class Locks:
    """Components that are held."""

    world: World
    descriptors: tuple[int, ...]

    def release(self) -> None:
        """Let others have them."""
        for descriptor in reversed(self.descriptors):
            self.world.close(descriptor)


def acquire(world: World, directory: str, components: Iterable[str]) -> Locks | Busy:
    """Hold every one of `components`, in sorted order so that two who want several cannot wait for each other, or none.

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
