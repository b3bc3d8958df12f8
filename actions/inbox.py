"""An inbox: a directory for candidates, whose content is hostile until it is checked.

Which of several candidates counts is decided by `choice.py`, by their certificates: the times of files play no part.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from typing import Final

from actions.candidate import MOST_BYTES, Given
from actions.target import unsafe_directory
from actions.world import World, remove
from config.immutable import immutable
from config.text import printable

MOST_FILES: Final = 32
_ASIDE: Final = ".done"
"""The end of the name of a file that is being removed; names that begin with a dot are passed over."""
_LEFT_AFTER: Final = 60.0
"""Seconds after which such a file was left by a process that was killed."""
_TOO_LARGE: Final = f"is larger than {MOST_BYTES} bytes"
_CANNOT_READ: Final = {
    errno.ELOOP: "is a symbolic link",
    errno.EINVAL: "is no regular file",
    errno.EISDIR: "is a directory",
    errno.ENXIO: "is no regular file",
    errno.EFBIG: _TOO_LARGE,
}


@immutable
class TakenFile:
    """One file as it was when its bytes were copied."""

    path: str
    data: bytes = field(repr=False)
    identity: tuple[int, int, int, int]
    """Device, inode, time of the last change of its status, size."""


@immutable
class Inbox:
    """A copy of the files in an inbox; later changes of the directory do not change it."""

    files: tuple[TakenFile, ...] = ()

    def given(self) -> tuple[Given, ...]:
        """Return the files as parts of a candidate."""
        return tuple(Given(printable(os.path.basename(each.path)), each.data) for each in self.files)


@immutable
class InboxUnsafe:
    """An unauthorised user could change the content of the inbox: no file of it is used."""

    detail: str
    """A sentence, printable."""


def open_inbox(world: World, directory: str) -> Inbox | InboxUnsafe:
    """Copy the files in `directory`, which only root or this user can have put there; raises OSError.

    Names that begin with a dot are passed over: many tools write to such a file and rename it when it is whole. An
    inbox that does not exist is empty.
    """
    try:
        if (unsafe := unsafe_directory(world, directory) or _shared(world, directory)) is not None:
            who = f"user {os.geteuid()}" if os.geteuid() else "root"
            return InboxUnsafe(f"{printable(unsafe)} belongs to, or can be changed by, another user than {who}")
        _give_back(world, directory)
        names = [each for each in world.names(directory) if not each.startswith(".")]
    except FileNotFoundError:
        return Inbox()
    if len(names) > MOST_FILES:
        return InboxUnsafe(f"{printable(directory)} holds {len(names)} files, more than {MOST_FILES}")
    files: list[TakenFile] = []
    for name in names:
        taken = _take(world, os.path.join(directory, name))
        if isinstance(taken, InboxUnsafe):
            return taken
        if taken is not None:
            files.append(taken)
    return Inbox(tuple(files))


def _give_back(world: World, directory: str) -> None:
    """Give a file its name back that a killed process had renamed aside to remove it; raises OSError."""
    for name in world.names(directory):
        aside = os.path.join(directory, name)
        if name.startswith(".") and name.endswith(_ASIDE):
            with suppress(FileNotFoundError, FileExistsError):
                if world.now() - world.stat(aside).st_ctime > _LEFT_AFTER:
                    world.link(aside, os.path.join(directory, name[1:].removesuffix(_ASIDE)))
                    world.unlink(aside)


def _shared(world: World, directory: str) -> str | None:
    """Return the inbox, or the directory of inboxes, if other users may create files in it.

    The sticky bit is no excuse here, as it is for /tmp further up: files of others would be in the way.
    """
    for each in (os.path.dirname(directory), directory):
        if world.stat(each).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return each
    return None


def _take(world: World, path: str) -> TakenFile | InboxUnsafe | None:
    try:
        found, data = world.read(path)
    except FileNotFoundError:
        # It was removed meanwhile, which triggers another look.
        return None
    except OSError as error:
        if error.errno not in _CANNOT_READ:
            raise
        return InboxUnsafe(f"{printable(path)} {_CANNOT_READ[error.errno]}")
    if len(data) > MOST_BYTES:
        return InboxUnsafe(f"{printable(path)} {_TOO_LARGE}")
    if found.st_uid not in {0, os.geteuid()} or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return InboxUnsafe(f"{printable(path)} can be changed by another user")
    if found.st_nlink != 1:
        return InboxUnsafe(f"{printable(path)} has {found.st_nlink} names, one of them elsewhere")
    return TakenFile(path, data, identity_of(found))


def identity_of(found: os.stat_result) -> tuple[int, int, int, int]:
    """Return what tells whether a file is still the same and unchanged, as in `TakenFile`."""
    return found.st_dev, found.st_ino, found.st_ctime_ns, found.st_size


def empty(world: World, inbox: Inbox, done_with: Callable[[Given], bool] = lambda _file: True) -> int:
    """Remove the files that are `done_with` and unchanged since they were copied; return the number; raises OSError.

    Nothing is lost that somebody writes meanwhile, neither a file that takes the place of one nor one that is written
    over in place.
    """
    removed, directories = 0, set()
    for each, file in zip(inbox.files, inbox.given(), strict=True):
        if done_with(file) and _remove_unchanged(world, each):
            removed += 1
            directories.add(os.path.dirname(each.path))
    for directory in sorted(directories):
        world.sync_directory(directory)
    return removed


def _remove_unchanged(world: World, taken: TakenFile) -> bool:
    """Remove a file that is as it was when it was copied; return whether it was. Raises OSError.

    1. See that it is the same file, and that nobody has it open to write over it.
    2. Rename it aside: from here on nobody finds it by its name to open it.
    3. Compare once more, and remove it; else it gets its name back, or another one beside a file that has taken it.
    """
    # 1
    try:
        if identity_of(world.stat(taken.path)) != taken.identity or world.is_being_written(taken.path):
            return False
        # 2
        directory, name = os.path.split(taken.path)
        aside = os.path.join(directory, f".{name}.{taken.identity[1]}{_ASIDE}")
        world.rename(taken.path, aside)
    except FileNotFoundError:
        return False
    # 3
    if not world.is_being_written(aside) and _holds(world, aside, taken):
        return remove(world, aside)
    for free in (taken.path, *(f"{taken.path}.{number}" for number in range(1, MOST_FILES))):
        with suppress(FileExistsError):
            world.link(aside, free)
            world.unlink(aside)
            break
    return False


def _holds(world: World, path: str, taken: TakenFile) -> bool:
    """Whether a file is the one that was taken, with the bytes that were copied."""
    try:
        found, data = world.read(path)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == taken.identity[:2] and data == taken.data
