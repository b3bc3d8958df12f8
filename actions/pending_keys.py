"""The keys that were made for requests: a directory of the actor, from which nothing but an answer takes a key.

A key is on the medium before the journal has its request, and the journal has the request before anybody is given it.
So a process that is killed at any step leaves a key without a request that anybody has, which is removed, or a request
with its key. A key goes only after the journal says that it is done with. The steps of making one:

1. Write the key under its temporary name, for this user alone, and sync it and its directory.
2. Note the request in the journal.
3. Rename the key to its name. Until then it is found under the temporary one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from actions.candidate import LibraryKey, PrivateKey
from actions.lock import Busy, acquire
from actions.world import World, remove, write_new
from config.immutable import immutable
from probes.container.blocks import EncodingFault
from probes.container.private_key import open_key

LOCK: Final = ".requests"
"""The lock of who makes, closes or clears requests: no component is called so."""
_TEMPORARY: Final = re.compile(r"\.([0-9a-f]{64})\.new")


@immutable
class PendingKeys:
    """The directory."""

    world: World
    directory: str

    def store(self, key: PrivateKey, noted: Callable[[], None]) -> None:
        """Keep a new key; `noted` records its request. Raises OSError, and what `noted` raises.

        A key that is there is never written over. Where `noted` raises, it is not known whether the request is in the
        journal, and the key stays.
        """
        # 1
        self.world.make_directory(self.directory)
        self.world.sync_directory(os.path.dirname(self.directory))
        temporary = self._temporary(key.public_sha256)
        write_new(self.world, temporary, key.pem())
        self.world.sync_directory(self.directory)
        # 2
        noted()
        # 3
        self._name(key.public_sha256)

    def key(self, public_sha256: str) -> PrivateKey | None:
        """Return the key with that public half; None where it is not there, or is no such key. Raises OSError."""
        for path in (self._path(public_sha256), self._temporary(public_sha256)):
            with suppress(FileNotFoundError):
                opened = open_key(self.world.read(path)[1], None)
                if isinstance(opened, EncodingFault) or not isinstance(opened.key, LibraryKey):
                    return None
                found = PrivateKey(opened.key)
                return found if found.public_sha256 == public_sha256 else None
        return None

    def remove(self, public_sha256: str) -> None:
        """Remove a key that is done with, which need not be there; raises OSError."""
        removed = [remove(self.world, each) for each in (self._path(public_sha256), self._temporary(public_sha256))]
        if any(removed):
            self.world.sync_directory(self.directory)

    def clear(self, waiting: Collection[str]) -> None:
        """Finish what a killed process left: `waiting` are the keys whose requests the journal has. Raises OSError.

        A key under its name stays, whatever the journal says: a journal that was lost must not take keys with it.
        """
        for name in self.world.names(self.directory):
            if (found := _TEMPORARY.fullmatch(name)) is None:
                continue
            if found[1] in waiting:
                self._name(found[1])
            else:
                remove(self.world, os.path.join(self.directory, name))
                self.world.sync_directory(self.directory)

    def _name(self, public_sha256: str) -> None:
        self.world.rename(self._temporary(public_sha256), self._path(public_sha256))
        self.world.sync_directory(self.directory)

    def _path(self, public_sha256: str) -> str:
        return os.path.join(self.directory, f"{public_sha256}.pem")

    def _temporary(self, public_sha256: str) -> str:
        return os.path.join(self.directory, f".{public_sha256}.new")


@contextmanager
def locked(world: World, locks: str, act: str) -> Iterator[Busy | None]:
    """Give None while nobody else makes, closes or clears requests; else who does. Raises OSError."""
    held = acquire(world, locks, (LOCK,), act)
    if isinstance(held, Busy):
        yield held
        return
    try:
        yield None
    finally:
        with suppress(OSError):
            held.release()
