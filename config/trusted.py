"""Which files can be trusted, and which may hold a secret."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from typing import Final

from config.text import printable

_MOST_LINKS: Final = 40
"""The number of links that Linux follows."""
MOST_BELOW: Final = 20_000
"""Names in a tree that is examined: a Java development kit with all its examples has 5,000."""
_SECRET_LIMIT: Final = 64 * 1024
"""Bytes of a file with secrets."""


def is_read_only(where: str | int) -> bool:
    """Whether nobody on this host can write there, as where an orchestrator mounts configuration."""
    return bool(os.statvfs(where).f_flag & os.ST_RDONLY)


def unsafe(status: os.stat_result, *, user: int, sticky_is_safe: bool) -> str:
    """Return why somebody else than root and `user` could change a file with this status; empty where nobody could."""
    if status.st_uid not in {0, user}:
        return f"belongs to user {status.st_uid}, expected root{f' or user {user}' if user else ''}"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (sticky_is_safe and status.st_mode & stat.S_ISVTX):
        return f"writable by group or others (mode {stat.S_IMODE(status.st_mode):04o}), expected its owner alone"
    return ""


def changeable(path: str, user: int = 0) -> str:
    """Return why others than root and `user` could change the file behind an absolute path; empty where nobody could.

    Every directory on the way counts, those on the way of symbolic links included. Raises OSError where the way ends
    before the file, or cannot be looked at.
    """
    return next((f"{printable(here)}: {why}" for here, status in _way(path) if (why := _not_ours(status, user))), "")


def changeable_below(directory: str, user: int = 0, *, spared: Collection[str] = ()) -> str:
    """Return why others than root and `user` could change anything in a tree of directories; empty where nobody could.

    Symbolic links are followed, and directories that they lead to are a part of it. Files that the paths `spared` lead
    to do not count; the directories and links on their way do. A tree of more than `MOST_BELOW` names counts as
    changeable. Raises OSError where a directory cannot be read.
    """
    files = [found for each in spared if (found := _status_or_none(each)) is not None]
    ahead, seen, number = [directory], set[tuple[int, int]](), 0
    while ahead:
        here = ahead.pop()
        if why := changeable(here, user):
            return why
        found = os.stat(here)
        if (found.st_dev, found.st_ino) in seen:
            continue
        seen.add((found.st_dev, found.st_ino))
        for name in os.listdir(here):
            number += 1
            if number > MOST_BELOW:
                return f"{printable(directory)} holds more than {MOST_BELOW} files, too many to look at"
            path = os.path.join(here, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                end = _status_or_none(path)
                is_spared = end is not None and any(os.path.samestat(end, each) for each in files)
                if why := _changeable_way(path, user, spare_last=is_spared):
                    return why
                if end is not None and stat.S_ISDIR(end.st_mode):
                    ahead.append(path)
            elif stat.S_ISDIR(status.st_mode):
                ahead.append(path)
            elif not any(os.path.samestat(status, each) for each in files) and (why := _not_ours(status, user)):
                return f"{printable(path)}: {why}"
    return ""


def _changeable_way(path: str, user: int, *, spare_last: bool) -> str:
    """Return `changeable` of a link, without the file at its end where that is spared; of a broken one, so far."""
    try:
        for here, status in _way(path):
            is_spared = spare_last and stat.S_ISREG(status.st_mode)
            if not is_spared and (why := _not_ours(status, user)):
                return f"{printable(here)}: {why}"
    except (FileNotFoundError, NotADirectoryError):
        # Nobody else can put anything there either.
        pass
    return ""


def _not_ours(status: os.stat_result, user: int) -> str:
    if stat.S_ISLNK(status.st_mode):
        whose = f"root{f' or user {user}' if user else ''}"
        return "" if status.st_uid in {0, user} else f"belongs to user {status.st_uid}, expected {whose}"
    # In a sticky directory nobody replaces a file of root's.
    return unsafe(status, user=user, sticky_is_safe=stat.S_ISDIR(status.st_mode))


def _status_or_none(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def closed_to(path: str, user: int, groups: Collection[int]) -> str:
    """Return the directory on the way of an absolute path that a user may not enter, with its mode; empty without one.

    A directory with an ACL counts as open, since its mode does not tell who may enter. Raises OSError as `changeable`.
    """
    for here, status in _way(path) if user else ():
        shift = 6 if status.st_uid == user else 3 if status.st_gid in groups else 0
        is_open = bool(status.st_mode >> shift & stat.S_IXOTH)
        if stat.S_ISDIR(status.st_mode) and not is_open and _ACL not in os.listxattr(here):
            return f"{printable(here)} (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""


def unreadable_for(path: str, user: int, groups: Collection[int]) -> str:
    """Say why a user may not read a file, by modes alone; empty where the user may. Raises OSError.

    A file with an ACL counts as readable.
    """
    if closed := closed_to(path, user, groups):
        return f"{closed} is closed to it"
    status = os.stat(path)
    shift = 6 if status.st_uid == user else 3 if status.st_gid in groups else 0
    is_open = not user or bool(status.st_mode >> shift & stat.S_IROTH) or _ACL in os.listxattr(path)
    return "" if is_open else f"its mode is {stat.S_IMODE(status.st_mode):04o}"


_ACL: Final = "system.posix_acl_access"


def _way(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield each directory, link and file on the way of an absolute path, with its status; raises OSError."""
    ahead, at, links = path.split("/")[::-1], "/", 0
    while ahead:
        name = ahead.pop()
        if name == "..":
            at = os.path.dirname(at)
        here = at if name in {"", ".", ".."} else os.path.join(at, name)
        status = os.lstat(here)
        yield here, status
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(here)
            ahead.extend(target.split("/")[::-1])
            at = "/" if target.startswith("/") else at
        else:
            at = here


def read_secrets(path: str, check: Callable[[str], object]) -> tuple[str, ...]:
    """Return the lines of a file with secrets, comments and empty ones aside: at least one, each as `check` wants it.

    Raises ValueError, from which no secret can be read, where there is none, one is otherwise, the file cannot be
    read, or others could read or change it.
    """
    try:
        # A FIFO must not block.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            problem = _exposed(file.fileno())
            data = b"" if problem else file.read(_SECRET_LIMIT + 1)
    except OSError as error:
        raise ValueError(f"{error.strerror or 'cannot be read'}, expected a file that can be read") from None
    if problem:
        raise ValueError(problem)
    if len(data) > _SECRET_LIMIT:
        raise ValueError(f"too large, expected at most {_SECRET_LIMIT} bytes")
    secrets = []
    for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
        secret = line.strip()
        if secret and not secret.startswith("#"):
            try:
                check(secret)
            except ValueError as error:
                raise ValueError(f"line {number} has a mistake, expected {error}") from None
            secrets.append(secret)
    if not secrets:
        raise ValueError("is empty, expected one value on each line")
    return tuple(secrets)


def _exposed(descriptor: int) -> str:
    """Return why an open file is no place for a secret; empty where it is safe."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file, expected one"
    if status.st_mode & stat.S_IROTH:
        return f"readable by everybody (mode {stat.S_IMODE(status.st_mode):04o}), expected its owner and group alone"
    return "" if is_read_only(descriptor) else unsafe(status, user=os.geteuid(), sticky_is_safe=False)
