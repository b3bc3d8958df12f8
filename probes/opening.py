"""Opening a file: as anybody would, or on behalf of others, through such links alone as they cannot have laid."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from typing import Final

from config.text import printable
from config.vocabulary import UnreadableReason
from probes.observation import Unreadable

MOST_LINKS: Final = 40
"""On one way, as path_resolution(7) has it."""
MOST_NAMES: Final = 4096
"""On one way, those of links included."""
_READING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_EXAMINING: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTEMPTS: Final = 3
_ROOT: Final = 0
_OUR_OWN: Final = Unreadable(UnreadableReason.NOT_REGULAR, "it is a file that certvigil keeps for itself")
_NOT_REGULAR: Final = Unreadable(UnreadableReason.NOT_REGULAR, "it is not a regular file")


class RefusedError(OSError):
    """A file is not opened, for a reason that is no error of the kernel's."""

    def __init__(self, why: Unreadable) -> None:
        super().__init__(errno.EPERM, why.detail)
        self.why = why


_left_alone: tuple[str, ...] = ()
"""Of the process, as the locks are that depend on it."""


def leave_alone(paths: Iterable[str]) -> None:
    """Have `open_plainly` refuse these files from now on, whatever name leads to them.

    Where a process closes any descriptor of a file, it loses the locks (fcntl) that it holds on it, as a database does.
    """
    global _left_alone  # noqa: PLW0603
    _left_alone = tuple(paths)


def open_plainly(path: str) -> int:
    """Return a descriptor that reads the regular file behind `path`, links followed; raises OSError, ValueError."""
    # Merely opening some devices has effects.
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError(_NOT_REGULAR)
    if status.st_uid == os.geteuid() and any(_is_file(each, status) for each in _left_alone):
        raise RefusedError(_OUR_OWN)
    return os.open(path, _READING)


def _is_file(path: str, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), status)
    except OSError:
        return False


def open_for_others(path: str) -> int:
    """Return a descriptor that reads the regular file behind `path`; raises OSError, ValueError.

    Who asks has less rights than whoever opens it. So each symbolic link on the way, which is gone name by name and
    with every name held while it is examined, belongs to root or to the owner of the file that it leads to: nobody
    else can choose what is read.
    """
    if not path.startswith("/") or "\0" in path:
        raise ValueError("expected an absolute path")
    for _ in range(_ATTEMPTS):
        descriptor = _open_once(path)
        if descriptor is not None:
            return descriptor
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _open_once(path: str) -> int | None:
    """Return the descriptor, None where another file took the place of the one that was examined."""
    links: dict[int, str] = {}
    todo, passed = _names(path), 0
    directory = os.open("/", _EXAMINING)
    try:
        for _ in range(MOST_NAMES):
            if not todo:
                raise RefusedError(_NOT_REGULAR)
            name = todo.pop()
            found = os.open(name, _EXAMINING, dir_fd=directory)
            try:
                status = os.fstat(found)
                if stat.S_ISDIR(status.st_mode):
                    directory, found = found, directory
                elif stat.S_ISLNK(status.st_mode):
                    passed += 1
                    if passed > MOST_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    to = os.readlink("", dir_fd=found)
                    links.setdefault(status.st_uid, name)
                    # What an absolute link leads to begins at the root.
                    todo += [*_names(to), *(["/"] if to.startswith("/") else [])]
                elif todo:
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                else:
                    return _opened(directory, name, status, links)
            finally:
                os.close(found)
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    finally:
        os.close(directory)


def _opened(directory: int, name: str, examined: os.stat_result, links: dict[int, str]) -> int | None:
    for owner, link in links.items():
        if owner not in {_ROOT, examined.st_uid}:
            whose = f"belongs to user {owner}, who is neither root nor the owner of what it leads to"
            detail = f"the symbolic link {printable(link, 200)} on its way {whose}"
            raise RefusedError(Unreadable(UnreadableReason.UNSAFE_LINK, detail))
    if not stat.S_ISREG(examined.st_mode):
        raise RefusedError(_NOT_REGULAR)
    try:
        descriptor = os.open(name, _READING | os.O_NOFOLLOW, dir_fd=directory)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOENT, errno.ENXIO}:
            # Something else has its name now.
            return None
        raise
    opened = os.fstat(descriptor)
    if (opened.st_dev, opened.st_ino) == (examined.st_dev, examined.st_ino):
        return descriptor
    os.close(descriptor)
    return None


def _names(path: str) -> list[str]:
    """Return the names on a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in {"", "."}]
