"""The only access of actions to files, processes and the clock: a port that tests trace, kill and make fail."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from actions import process
from actions.process import ProcessId
from config.immutable import immutable
from config.service import Command
from config.text import printable
from probes.clock import is_synchronised
from probes.opening import list_as, open_as, open_through, resolve_through

READ_LIMIT: Final = 16 * 2**20
LOST_BY_WRITING: Final = stat.S_ISUID | stat.S_ISGID
"""Mode bits that the kernel clears when a user other than root writes: they are set again afterwards."""
NOT_A_FILE: Final = frozenset({errno.ELOOP, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.EFBIG})
"""How reading fails where the path is no regular file, or the file is too large."""
_OUTPUT_LIMIT: Final = 16_384
_GATE: Final = ("/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "sh")
"""Becomes the command that follows once a line comes in; ends without it where the process at the other end dies."""
_LONGEST: Final = 2**31 - 1
"""Milliseconds that poll(2) waits for at most."""
_servers: list[subprocess.Popen[bytes]] = []
"""Children of this process that are servers: kept, to be reaped once they end."""
_SUPERVISOR: Final = ("LISTEN_", "WATCHDOG_")
_SUPERVISORS: Final = frozenset({"NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "MAINPID", "SYSTEMD_EXEC_PID"})
"""Variables of systemd that are about the actor: commands do not inherit them."""
_KEPT_ATTRIBUTES: Final = ("user.", "system.posix_acl_access", "security.selinux")
_GET_FLAGS: Final = 0x80086601
"""FS_IOC_GETFLAGS of linux/fs.h."""
_IMMUTABLE_OR_APPEND_ONLY: Final = 0x10 | 0x20
_EXCHANGE: Final = 2
"""RENAME_EXCHANGE of linux/fs.h."""
_HERE: Final = -100
"""AT_FDCWD of linux/fcntl.h."""
_OPEN: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY


@immutable
class Ran:
    """How a command ended."""

    command: Command
    status: int | None
    """The exit status, negative for a signal; None where the command did not end in time and was killed."""
    output: str
    """The end of its output, both streams, printable."""
    serving: bool = False
    """The command is the server by now, and was left alone at its time limit."""

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with status 0, or became the server."""
        return self.status == 0 or self.serving


@immutable
class Place:
    """Where and as whom a command runs."""

    directory: str = "/"
    """It need not be reachable for the user."""
    user: int | None = None
    """With no group but `group`, and no capability; None for this process's user."""
    group: int | None = None


ORDINARY: Final = Place()


@immutable
class Standing:
    """Properties that may keep a file from being replaced."""

    read_only: bool
    """Of the file system."""
    immutable: bool
    mount_point: bool
    """Something is mounted on the file itself, so that a rename onto it fails with EBUSY."""


class World:
    """The real world. Each method is one primitive step: it succeeds, or raises OSError, and calls no other method."""

    def stat(self, path: str) -> os.stat_result:
        """Return the status of the path itself, a link not followed."""
        return os.lstat(path)

    def resolve(self, path: str) -> str:
        """Return the absolute path with every symbolic link followed, of a missing file as well.

        Links of root, of this user, or of the owner of the file that they lead to are followed; any other link raises
        RefusedError: else a lesser user would choose which file is read and changed.
        """
        return _resolved(path)[0]

    def way(self, path: str) -> tuple[str, ...]:
        """Return the directories of the symbolic links on the way of `path`; raises as `resolve`."""
        return _resolved(path)[1]

    def read(self, path: str) -> tuple[os.stat_result, bytes]:
        """Return status and content of a regular file, both from one descriptor; a link raises OSError (ELOOP).

        Links among the directories on its way are followed as in `resolve`.
        """
        return _read(_opened(path, os.O_RDONLY), path)

    def read_as(self, path: str, users: frozenset[int]) -> tuple[os.stat_result, bytes]:
        """Return status and content of a regular file that each of the `users` could read, links as in `resolve`."""
        return _read(open_as(path, users, _trusted()), path)

    def names_as(self, directory: str, users: frozenset[int]) -> tuple[str, ...]:
        """Return the names in a directory that each of the `users` could list, sorted; none where it does not exist."""
        try:
            return tuple(sorted(list_as(directory, users, _trusted())))
        except FileNotFoundError:
            return ()

    def attributes(self, path: str) -> dict[str, bytes]:
        """Return the extended attributes that a replaced file keeps: the user's, the access ACL, the SELinux label."""
        try:
            names = os.listxattr(path, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                return {}
            raise
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names if _kept(name)}

    def standing(self, path: str) -> Standing:
        """Return the obstacles to a change of the existing file `path`, or of files in an existing directory `path`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _OPEN)
        try:
            flags = bytearray(8)
            with suppress(OSError):
                fcntl.ioctl(descriptor, _GET_FLAGS, flags)
            immutable = bool(int.from_bytes(flags[:4], "little") & _IMMUTABLE_OR_APPEND_ONLY)
            read_only = bool(os.fstatvfs(descriptor).f_flag & os.ST_RDONLY)
        finally:
            os.close(descriptor)
        with open("/proc/self/mountinfo", "rb") as mounts:
            points = {line.split()[4] for line in mounts}
        return Standing(read_only, immutable, _as_mountinfo(path) in points)

    def names(self, directory: str) -> tuple[str, ...]:
        """Return the names in a directory, sorted; none where it does not exist."""
        try:
            return tuple(sorted(os.listdir(directory)))
        except FileNotFoundError:
            return ()

    def create(self, path: str) -> int:
        """Create a file for this user alone; returns the descriptor."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, 0o600)

    def open(self, path: str) -> int:
        """Open an existing regular file to read and write, over the same links as `read`; returns the descriptor."""
        descriptor = _opened(path, os.O_RDWR)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file", path)
        return descriptor

    def status(self, descriptor: int) -> os.stat_result:
        """Return the status of an open file."""
        return os.fstat(descriptor)

    def is_at(self, descriptor: int, path: str) -> bool:
        """Whether `path` names an open file now."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), os.lstat(path))
        return False

    def set_attributes(self, descriptor: int, attributes: Mapping[str, bytes]) -> None:
        """Give an open file exactly these extended attributes, as far as a replaced file keeps them."""
        for name, value in attributes.items():
            os.setxattr(descriptor, name, value)
        # A directory's default ACL gives a new file an access ACL that the old one did not have.
        with suppress(OSError):
            if "system.posix_acl_access" not in attributes:
                os.removexattr(descriptor, "system.posix_acl_access")

    def set_owner(self, descriptor: int, owner: int, group: int) -> None:
        """Set owner and group of an open file."""
        os.fchown(descriptor, owner, group)

    def set_mode(self, descriptor: int, mode: int) -> None:
        """Set an open file's permission bits."""
        os.fchmod(descriptor, mode)

    def set_times(self, descriptor: int, mtime_ns: int) -> None:
        """Set the time of the last change of an open file."""
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))

    def read_at(self, descriptor: int, offset: int) -> bytes:
        """Return everything from `offset` on."""
        return os.pread(descriptor, max(0, os.fstat(descriptor).st_size - offset), offset)

    def write_at(self, descriptor: int, offset: int, data: bytes) -> int:
        """Write; returns the number of bytes written, which may be fewer."""
        return os.pwrite(descriptor, data, offset)

    def reserve(self, descriptor: int, offset: int, length: int) -> None:
        """Have the file system set blocks aside, so that writing there later cannot fail for want of space."""
        os.posix_fallocate(descriptor, offset, length)

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut an open file to `length` bytes."""
        os.ftruncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        """Return once an open file is on the medium; after an error its content is unknown, and no retry helps."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def lock(self, descriptor: int, *, wait: bool) -> bool:
        """Take the exclusive lock of an open file (flock); False where another has it and `wait` is not set."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self, descriptor: int) -> None:
        """Release the lock."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def sync_directory(self, path: str) -> None:
        """Return once the names in a directory are on the medium."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def is_being_written(self, path: str) -> bool:
        """Return whether a process has a regular file open for writing, as a lease tells (F_SETLEASE of fcntl(2)).

        False where that cannot be told: the file is another user's, or its file system gives no lease.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _OPEN)
        try:
            # The signal for a broken lease would end this process; this one is ignored by default.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError as error:
            return error.errno == errno.EAGAIN
        finally:
            os.close(descriptor)
        return False

    def rename(self, old: str, new: str) -> None:
        """Move a file over another, atomically."""
        os.rename(old, new)

    def exchange(self, one: str, other: str) -> None:
        """Exchange the names of two files, atomically (renameat2); raises OSError EINVAL if not supported."""
        try:
            renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        except AttributeError:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), one) from None
        if renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), one, None, other)

    def link(self, old: str, new: str) -> None:
        """Give a file a second name, which must be free."""
        os.link(old, new, follow_symlinks=False)

    def unlink(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path)

    def make_directory(self, path: str, mode: int = 0o700) -> None:
        """Make a directory, by default for its owner only, unless it is there."""
        with suppress(FileExistsError):
            os.mkdir(path, mode)
            os.chmod(path, mode)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        os.rmdir(path)

    def run(
        self,
        command: Command,
        timeout: float,
        begun: Callable[[ProcessId], None] | None = None,
        *,
        spare_server: bool = False,
        place: Place = ORDINARY,
    ) -> Ran:
        """Run a command in a session of its own and return how it ended; status 127 means that it cannot be run.

        `begun` receives the process before the command does anything: where this process ends before `begun` returns,
        or `begun` raises, the command never does. With `spare_server`, processes that listen at the time limit are
        left alone.
        """
        if not os.access(command[0], os.X_OK):
            why = errno.EACCES if os.path.exists(command[0]) else errno.ENOENT
            return Ran(command, 127, printable(f"{command[0]}: {os.strerror(why)}"))
        _servers[:] = [each for each in _servers if each.poll() is None]
        # A file, not a pipe: processes that a service manager leaves in the background would hold a pipe open.
        with open(os.memfd_create("output"), "r+b") as output:
            try:
                started = _start(command, begun, output.fileno(), place)
            except OSError as error:
                return Ran(command, 127, printable(f"{command[0]}: {error.strerror}"))
            serving = False
            try:
                status: int | None = _waited_for(started, timeout)
            except subprocess.TimeoutExpired:
                status = None
                serving = process.end_session(started.pid, spare_server=spare_server)
                if serving:
                    _servers.append(started)
                else:
                    started.wait()
            size = output.seek(0, os.SEEK_END)
            output.seek(max(0, size - _OUTPUT_LIMIT))
            said = output.read(_OUTPUT_LIMIT).decode(errors="replace")
        shown = " / ".join(printable(line) for line in said.splitlines() if line.strip())
        return Ran(command, status, shown, serving)

    def age(self, one: ProcessId) -> float | None:
        """Return the seconds since a process began, running or not; None where the machine was started since."""
        return process.age(one)

    def runs(self, one: ProcessId) -> bool:
        """Return whether a process still runs."""
        return process.runs(one)

    def kill(self, one: ProcessId, *, spare_server: bool) -> bool:
        """Kill a process that still runs, with all of its session; returns whether it was spared as a server."""
        return process.runs(one) and process.end_session(one.pid, spare_server=spare_server)

    def synchronised(self) -> bool | None:
        """Return whether the kernel counts the wall clock as synchronised (adjtimex); None where that is not known."""
        return is_synchronised()

    def now(self) -> float:
        """Return the wall clock's time, Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds on a clock that never jumps."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


def _start(
    command: Command, begun: Callable[[ProcessId], None] | None, output: int, place: Place
) -> subprocess.Popen[bytes]:
    """Start a command, once `begun` returned where it is given; raises OSError, or the exception of `begun`."""
    theirs, ours = os.pipe()
    with open(theirs, "rb"), open(ours, "wb", buffering=0) as gate:
        started = subprocess.Popen(
            (*_GATE, *command) if begun else command,
            stdin=theirs if begun else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=place.directory,
            user=place.user,
            group=place.group,
            extra_groups=None if place.user is None else (),
            env=_environment(),
            # The default of systemd for services: the umask of the actor is for its own files only.
            umask=0o022,
            start_new_session=True,
        )
        if begun:
            try:
                begun(process.identify(started.pid))
            except BaseException:
                gate.close()
                started.wait()
                raise
            # It may have been killed meanwhile: then its status tells.
            with suppress(BrokenPipeError):
                gate.write(b"\n")
    return started


def _waited_for(child: subprocess.Popen[bytes], timeout: float) -> int:
    """Return the status of a child as soon as it has ended; raises TimeoutExpired after `timeout` seconds."""
    try:
        descriptor = os.pidfd_open(child.pid)
    except OSError:
        # The kernel has none, or there is no room for one: then it is looked for now and then.
        return child.wait(timeout)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(min(timeout * 1000, _LONGEST)):
            raise subprocess.TimeoutExpired(child.args, timeout)
    finally:
        os.close(descriptor)
    return child.wait()


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _SUPERVISORS and not name.startswith(_SUPERVISOR)
    }


def _read(descriptor: int, path: str) -> tuple[os.stat_result, bytes]:
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        # As much as there is, and one more: room for the most that there may be takes long to get.
        data = file.read(min(found.st_size, READ_LIMIT) + 1)
        if len(data) > found.st_size:
            data += file.read(READ_LIMIT + 1 - len(data))
    if len(data) > READ_LIMIT:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return found, data


def _trusted() -> frozenset[int]:
    """Return the users whose symbolic links may lead anywhere."""
    return frozenset({0, os.geteuid()})


def _resolved(path: str) -> tuple[str, tuple[str, ...]]:
    try:
        return resolve_through(os.path.abspath(path), _trusted())
    except OSError as error:
        error.filename = path
        raise


def _opened(path: str, flags: int) -> int:
    """Open an existing file that is no link, over the links that `World.resolve` follows; raises OSError."""
    try:
        return open_through(os.path.abspath(path), flags | os.O_NONBLOCK | _OPEN, _trusted())
    except OSError as error:
        # The whole path says more than a part of the way.
        error.filename = path
        raise


def write_all(world: World, descriptor: int, offset: int, data: bytes) -> None:
    """Write all of `data` at `offset`, in as many writes as needed; raises OSError."""
    view = memoryview(data)
    while view:
        written = world.write_at(descriptor, offset, bytes(view))
        if written <= 0:
            raise OSError(errno.EIO, "nothing was written")
        view, offset = view[written:], offset + written


@immutable
class Metadata:
    """The metadata of a file."""

    mode: int
    owner: int
    group: int
    attributes: Mapping[str, bytes] | None = None
    """None for the defaults of the directory."""
    mtime_ns: int | None = None
    """Of the last change; None for now."""


def write_new(world: World, path: str, data: bytes, metadata: Metadata | None = None) -> None:
    """Create a file, whole and on the medium; owner, attributes and mode are set before its bytes are written.

    Without metadata it is for this user alone. Raises OSError; then an unfinished file may be left.
    """
    descriptor = world.create(path)
    try:
        if metadata is not None:
            world.set_owner(descriptor, metadata.owner, metadata.group)
            if metadata.attributes is not None:
                world.set_attributes(descriptor, metadata.attributes)
            # After the access ACL, which brings a mode of its own.
            world.set_mode(descriptor, metadata.mode)
        write_all(world, descriptor, 0, data)
        if metadata is not None and metadata.mode & LOST_BY_WRITING:
            world.set_mode(descriptor, metadata.mode)
        if metadata is not None and metadata.mtime_ns is not None:
            world.set_times(descriptor, metadata.mtime_ns)
        world.sync(descriptor)
    finally:
        world.close(descriptor)


def remove(world: World, path: str) -> bool:
    """Remove a name where it exists; returns whether it existed. Raises OSError."""
    try:
        world.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _kept(name: str) -> bool:
    return name.startswith(_KEPT_ATTRIBUTES)


def _as_mountinfo(path: str) -> bytes:
    """Spell a path as proc(5) does: space, tab, newline and backslash in octal."""
    raw = os.fsencode(path)
    for character in b"\\ \t\n":
        raw = raw.replace(bytes([character]), b"\\%03o" % character)
    return raw
