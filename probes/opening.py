"""Opening a file: as anybody would, or on behalf of others, through such links alone as they cannot have laid."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self, TypeVar

from config.text import Printable, printable, sentence
from config.vocabulary import UnreadableReason
from probes.observation import Unreadable

T = TypeVar("T")

ANYBODY: Final = -1
"""A user of whom nothing is known: may do what all may do."""

MOST_LINKS: Final = 40
"""On one way, as path_resolution(7) has it."""
MOST_NAMES: Final = 4096
"""On one way, those of links included."""
_READING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_EXAMINING: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_OPENAT2: Final = 437
"""The number of openat2(2), which the C library does not have."""
_HOW: Final = struct.pack("QQQ", _EXAMINING | os.O_DIRECTORY, 0, 0x04)
"""A struct open_how with RESOLVE_NO_SYMLINKS of linux/openat2.h."""
_HERE: Final = -100
"""AT_FDCWD of linux/fcntl.h."""
_LIBRARY: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
_ATTEMPTS: Final = 3
_ROOT_ALONE: Final = frozenset({0})
_OUR_OWN: Final = Unreadable(UnreadableReason.NOT_REGULAR, Printable("it is a file that certvigil keeps for itself"))
_NOT_REGULAR: Final = Unreadable(UnreadableReason.NOT_REGULAR, Printable("it is not a regular file"))
_NOT_FOUND: Final = Unreadable(UnreadableReason.NOT_FOUND, Printable("there is no such file"))


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
    else can choose what is read. Whatever a link of another user leads to, there is one answer: else that user would
    learn of it.
    """
    return _reached(path, _open)


def read_as_ourselves(path: str, most: int) -> bytes:
    """Return the content of the regular file behind `path`; raises OSError, also where it has more than `most` bytes.

    Links are followed as by `open_for_others`, and those of this process's user: root reads no file that another user
    has chosen, and opens no FIFO and no device.
    """
    try:
        descriptor = _reached(os.path.abspath(path), _open, frozenset({0, os.geteuid()}))
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), path) from None
    except RefusedError as error:
        if error.why.reason in {UnreadableReason.NOT_FOUND, UnreadableReason.BROKEN_SYMLINK}:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        raise
    with open(descriptor, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return data


def open_as(path: str, users: frozenset[int], trusted: frozenset[int]) -> int:
    """Return a descriptor that reads the regular file behind `path`, as each of the `users` could; raises OSError.

    Each of them may search every directory on the way, and read the file, by the modes of what is held open. What has
    an ACL counts as closed to all but its owner. Links are followed as by `resolve_through`.
    """
    descriptor = _reached(path, _open, trusted, users)
    if users and not _may(descriptor, users, stat.S_IROTH):
        os.close(descriptor)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return descriptor


def list_as(directory: str, users: frozenset[int], trusted: frozenset[int]) -> list[str]:
    """Return the names in a directory, as each of the `users` could; raises OSError as `open_as`."""
    with _Walk(directory, trusted, users=users) as walk:
        walk.enter()
        if not _may(walk.directory, users, stat.S_IROTH | stat.S_IXOTH):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), directory)
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=walk.directory)
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


def _may(descriptor: int, users: frozenset[int], wanted: int) -> bool:
    """Whether each of the users has these rights, those of others in a mode, on an open file or directory."""
    if not users:
        return True
    status, has_acl = os.fstat(descriptor), _has_acl(descriptor)

    def may(user: int) -> bool:
        if user == status.st_uid:
            return status.st_mode >> 6 & wanted == wanted
        is_of_group = user != ANYBODY and status.st_gid in _groups_of(user)
        return not has_acl and status.st_mode >> (3 if is_of_group else 0) & wanted == wanted

    return all(map(may, users))


def _has_acl(descriptor: int) -> bool:
    try:
        return "system.posix_acl_access" in os.listxattr(f"/proc/self/fd/{descriptor}")
    except OSError as error:
        return error.errno != errno.ENOTSUP


def _groups_of(user: int) -> frozenset[int]:
    import pwd  # noqa: PLC0415 (a reader that is confined looks nobody up)

    try:
        found = pwd.getpwuid(user)
    except KeyError:
        return frozenset()
    return frozenset(os.getgrouplist(found.pw_name, found.pw_gid))


def examine_for_others(path: str) -> os.stat_result:
    """Return the status of the regular file that `open_for_others` would open; raises as that does."""
    return _reached(path, lambda _directory, _name, status: status)


def resolve_through(path: str, trusted: frozenset[int]) -> tuple[str, tuple[str, ...]]:
    """Return the absolute path without links that `path` leads to, and the directories in which links on its way lie.

    Links of `trusted` users lead anywhere, all others as in `open_for_others`; raises RefusedError, ValueError. As in
    realpath(1), a path need not exist to its end, and what cannot be looked at is taken as it is written.
    """
    with _Walk(path, trusted) as walk:
        return walk.resolve(), tuple(walk.lie_in)


def open_through(path: str, flags: int, trusted: frozenset[int]) -> int:
    """Return a descriptor of the regular file behind `path`, itself no link, over such links as `resolve_through`.

    Raises OSError as open(2) does, ValueError, and RefusedError for a link on the way that is not followed.
    """
    for _ in range(_ATTEMPTS):
        with _Walk(path, trusted, follow_last=False) as walk:
            name, status = walk.reach()
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            descriptor = _open(walk.directory, name, status, flags)
        if descriptor is not None:
            return descriptor
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)


def _reached(
    path: str,
    use: Callable[[int, str, os.stat_result], T | None],
    trusted: frozenset[int] = _ROOT_ALONE,
    users: frozenset[int] = frozenset(),
) -> T:
    """Return the use of the file behind `path`, by its directory, name and status; links of `trusted` lead anywhere.

    `use` gives None where another file took the place of the one that was examined.
    """
    if not path.startswith("/") or "\0" in path:
        raise ValueError("expected an absolute path")
    for _ in range(_ATTEMPTS):
        with _Walk(path, trusted, users=users) as walk:
            name, status = walk.go()
            used = use(walk.directory, name, status)
        if used is not None:
            return used
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class _Walk:
    """One way to a file, with the directory that it has come to held open."""

    def __init__(
        self,
        path: str,
        trusted: frozenset[int] = _ROOT_ALONE,
        *,
        follow_last: bool = True,
        users: frozenset[int] = frozenset(),
    ) -> None:
        """Begin at the root; links of `trusted` users, ids, lead anywhere, where all `users` may search."""
        self.lie_in: list[str] = []
        """Where the links lie that were passed: paths without links."""
        self._at: list[str] = []
        """The names on the path of that directory, without links."""
        self._trusted = trusted
        self._follow_last = follow_last
        self._users = users
        self._todo = _names(path)
        directory = None if users else _directory_without_links(self._todo[:0:-1])
        if directory is None:
            self.directory = os.open("/", _EXAMINING)
        else:
            self.directory, self._at, self._todo = directory, self._todo[:0:-1], self._todo[:1]
        self._passed = 0
        self._broken: str | None = None
        """Where the last name of the path is a link: what that leads to."""
        self._foreign: tuple[int, str] | None = None
        """The first link that is not of a trusted user: its owner and name."""
        self._owners: set[int] = set()
        """Of all those links."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.directory)

    def go(self) -> tuple[str, os.stat_result]:
        """Return name and status of the regular file at the end; raises OSError."""
        try:
            name, status = self._end()
            if not self._owners <= {status.st_uid}:
                raise self._refused()
            if not stat.S_ISREG(status.st_mode):
                raise RefusedError(_NOT_REGULAR)
        except OSError as error:
            # What went wrong would tell the owner of a link about a place that may be closed to him.
            if self._foreign is not None:
                raise self._refused() from None
            if error.errno == errno.EISDIR:
                raise RefusedError(_NOT_REGULAR) from None
            if error.errno == errno.ENOENT:
                # Said here: whoever looked at the path once more would go another way, perhaps that of such a link.
                raise RefusedError(_NOT_FOUND if self._broken is None else broken_link(self._broken)) from None
            raise
        return name, status

    def reach(self) -> tuple[str, os.stat_result]:
        """Return name and status of the regular file at the end; raises OSError as the kernel does, RefusedError."""
        try:
            name, status = self._end()
        except OSError:
            if self._foreign is not None:
                raise self._refused() from None
            raise
        if not self._owners <= {status.st_uid} or (self._foreign is not None and not stat.S_ISREG(status.st_mode)):
            raise self._refused()
        return name, status

    def resolve(self) -> str:
        """Return the path without links, in spite of any error of the kernel's; raises RefusedError."""
        try:
            name, _ = self.reach()
        except RefusedError:
            raise
        except OSError:
            # Of a directory, nothing is left to do.
            return os.path.normpath(os.path.join("/", *self._at, *reversed(self._todo)))
        return f"/{'/'.join((*self._at, name))}"

    def enter(self) -> None:
        """Go to the directory at the end; raises OSError."""
        try:
            self._end()
        except IsADirectoryError:
            if self._foreign is not None:
                raise self._refused() from None
            return
        except OSError:
            if self._foreign is not None:
                raise self._refused() from None
            raise
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def _end(self) -> tuple[str, os.stat_result]:
        for _ in range(MOST_NAMES):
            if not self._todo:
                raise IsADirectoryError(errno.EISDIR, _NOT_REGULAR.detail)
            if not _may(self.directory, self._users, stat.S_IXOTH):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            name = self._todo[-1]
            found = os.open(name, _EXAMINING, dir_fd=self.directory)
            try:
                status = os.fstat(found)
                if stat.S_ISLNK(status.st_mode) and len(self._todo) == 1 and not self._follow_last:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                self._todo.pop()
                if stat.S_ISDIR(status.st_mode):
                    self.directory, found = found, self.directory
                    self._enter(name)
                elif stat.S_ISLNK(status.st_mode):
                    self._pass(name, status, os.readlink("", dir_fd=found))
                elif self._todo:
                    self._todo.append(name)
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                else:
                    return name, status
            finally:
                os.close(found)
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))

    def _enter(self, name: str) -> None:
        if name == "/":
            self._at.clear()
        elif name != "..":
            self._at.append(name)
        elif self._at:
            self._at.pop()

    def _pass(self, name: str, link: os.stat_result, to: str) -> None:
        self._passed += 1
        self.lie_in.append(os.path.join("/", *self._at))
        if self._passed > MOST_LINKS:
            self._todo.append(name)
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if not self._todo:
            self._broken = self._broken or to
        if link.st_uid not in self._trusted:
            self._foreign = self._foreign or (link.st_uid, name)
            self._owners.add(link.st_uid)
        # What an absolute link leads to begins at the root.
        self._todo += [*_names(to), *(["/"] if to.startswith("/") else [])]

    def _refused(self) -> RefusedError:
        assert self._foreign is not None  # noqa: S101 (nothing else is refused)
        owner, name = self._foreign
        whose = sentence("belongs to user {}, not to root, and is followed to regular files of that user alone", owner)
        detail = sentence("the symbolic link {} on its way {}", printable(name, 200), whose)
        return RefusedError(Unreadable(UnreadableReason.UNSAFE_LINK, detail))


def broken_link(to: str) -> Unreadable:
    """Return that a file is a symbolic link to a place where nothing is."""
    return Unreadable(
        UnreadableReason.BROKEN_SYMLINK, sentence("it links to {}, which does not exist", printable(to, 200))
    )


def _open(directory: int, name: str, examined: os.stat_result, flags: int = _READING | os.O_NOFOLLOW) -> int | None:
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
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


def _directory_without_links(names: Sequence[str]) -> int | None:
    """Return a descriptor of a directory below the root, reached at once instead of name by name.

    None where a link is on its way, where it cannot be opened, or where the kernel has no such call: then the way is
    gone name by name.
    """
    path = os.fsencode(f"/{'/'.join(names)}")
    # The C library would read a path to its first zero byte.
    if _LIBRARY is None or ".." in names or b"\0" in path:
        return None
    descriptor: int = _LIBRARY.syscall(_OPENAT2, _HERE, path, _HOW, len(_HOW))
    return descriptor if descriptor >= 0 else None


def _names(path: str) -> list[str]:
    """Return the names on a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in {"", "."}]
