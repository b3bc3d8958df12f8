"""Giving up rights for good: it can still read files, and answer over a descriptor that is open already.

A process that has given them up can be made to do nothing else, whatever takes it over: hostile bytes may take it over,
so it is a process of its own.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from config.immutable import immutable

READER: Final = "certvigil-reader"
"""The user that it is, where the host has one."""
CAP_DAC_OVERRIDE: Final = 1
CAP_DAC_READ_SEARCH: Final = 2

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_KEEPCAPS: Final = 8
_PR_SET_SECCOMP: Final = 22
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
_CAPABILITY_VERSION: Final = 0x20080522
_LAST_CAPABILITY: Final = 63
_CLONE_NEWNET: Final = 0x40000000
_CLONE_NEWIPC: Final = 0x08000000
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | (0o20000000)
"""Flags of openat; the last is __O_TMPFILE."""

# One instruction of a filter (linux/filter.h): code, where to go on if so and if not, operand.
_INSTRUCTION: Final = struct.Struct("HBBI")
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
"""Offsets in struct seccomp_data."""
_FLAGS_AT: Final = {"open": 24, "openat": 32}
"""And of the lower half of the argument with the flags of an open."""
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_REFUSE: Final = 0x00050000 | errno.EPERM
_X32: Final = 0x40000000


@immutable
class Architecture:
    """A kind of processor, and where its numbers of system calls stand."""

    audit: int
    """As the kernel calls it for audits (AUDIT_ARCH_*)."""
    column: int
    """Of the tables of system calls."""


_READING: Final = """
    access 21 -, brk 12 214, clock_getres 229 114, clock_gettime 228 113, clock_nanosleep 230 115, close 3 57,
    dup 32 23, exit 60 93, exit_group 231 94, fcntl 72 25, fstat 5 80, futex 202 98, getdents64 217 61,
    getegid 108 177, geteuid 107 175, getgid 104 176, getpid 39 172, getrandom 318 278, gettid 186 178,
    gettimeofday 96 169, getuid 102 174, lseek 8 62, lstat 6 -, madvise 28 233, mmap 9 222, mprotect 10 226,
    mremap 25 216, munmap 11 215, nanosleep 35 101, newfstatat 262 79, open 2 -, openat 257 56, poll 7 -,
    ppoll 271 73, pread64 17 67, read 0 63, readlink 89 -, readlinkat 267 78, readv 19 65,
    restart_syscall 219 128, rseq 334 293, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139,
    sched_yield 24 124, set_robust_list 273 99, sigaltstack 131 132, stat 4 -, statx 332 291, sysinfo 99 179,
    time 201 -, uname 63 160, write 1 64, writev 20 66
"""
"""System calls by which files are read and answers given, in whichever C library: name, numbers on x86-64 and AArch64,
"-" where there is none."""
_BEGINNING: Final = """
    clone 56 220, clone3 435 435, close_range 436 436, dup2 33 -, dup3 292 24, fork 57 -, getppid 110 173,
    getrlimit 97 163, kill 62 129, pipe2 293 59, prctl 157 167, prlimit64 302 261, setrlimit 160 164, vfork 58 -,
    wait4 61 260, waitid 247 95
"""
"""And those by which processes that read are begun, limited, confined and ended."""
_ARCHITECTURES: Final = {"x86_64": Architecture(0xC000003E, 1), "aarch64": Architecture(0xC00000B7, 2)}


def numbers(architecture: Architecture, *tables: str) -> dict[str, int]:
    """Return the numbers that system calls have on an architecture, by name."""
    rows = (row.split() for table in tables for row in table.split(","))
    return {row[0]: int(row[architecture.column]) for row in rows if row[architecture.column] != "-"}


@immutable
class Limits:
    """The limits of one reading."""

    cpu: int
    """Seconds."""
    memory: int = 1 << 30
    """Bytes of address space."""
    files: int = 512
    """Descriptors."""


def renounce(user: int, group: int) -> tuple[str, ...]:
    """Keep the right to read any file, as another user, and give up all others; return the rights that were not lost.

    A process that is not root gives up as much as it can. Afterwards it still may begin other processes. Raises OSError
    where a right of root is left, and where a process that may read every file may use the network.
    """
    left: list[str] = []
    libc = ctypes.CDLL(None, use_errno=True)
    os.nice(5)
    was_root, is_apart = os.geteuid() == 0, False
    if was_root:
        # Where systemd or a container forbids new namespaces, the filter below keeps it from the network.
        is_apart = libc.unshare(_CLONE_NEWNET | _CLONE_NEWIPC) == 0
        kept = _readers_capability(libc)
        _checked(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
        for each in range(_LAST_CAPABILITY + 1):
            # Needs CAP_SETPCAP; without it, no_new_privs holds as well.
            libc.prctl(_PR_CAPBSET_DROP, each, 0, 0, 0)
        try:
            os.setgroups([])
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)
        except OSError:
            left.append("it runs as root, since no other user may be taken on here")
        _keep_only(libc, kept)
        if not kept:
            left.append("it may not read files of other users, since CAP_DAC_READ_SEARCH is missing")
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))
    for each in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
        resource.setrlimit(each, (0, 0))
    if not _filter(libc, _READING, _BEGINNING):
        left.append("system calls are not filtered on this kind of processor")
        if was_root and not is_apart:
            raise OSError(
                errno.EPERM,
                "nothing keeps it from the network: namespaces are forbidden here, and system calls are not filtered "
                "on this kind of processor",
            )
    return tuple(left)


def confine(limits: Limits, parent: int) -> None:
    """Keep to reading alone, within `limits`, and end with the process `parent`; raises OSError where that fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu, limits.cpu))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits.files, limits.files))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    _filter(libc, _READING)


def _readers_capability(libc: ctypes.CDLL) -> Sequence[int]:
    """Return the least capability that reads any file, of those that this process has.

    In a container it may be CAP_DAC_OVERRIDE alone: then it is the filter that forbids to open a file for writing.
    """
    permitted = _permitted(libc)
    if permitted >> CAP_DAC_READ_SEARCH & 1:
        return (CAP_DAC_READ_SEARCH,)
    if permitted >> CAP_DAC_OVERRIDE & 1 and platform.machine() in _ARCHITECTURES:
        return (CAP_DAC_OVERRIDE,)
    return ()


def _permitted(libc: ctypes.CDLL) -> int:
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    data = ctypes.create_string_buffer(24)
    _checked(libc.capget(header, data))
    words = struct.unpack("6I", data.raw)
    return int(words[1] | words[4] << 32)


def _keep_only(libc: ctypes.CDLL, capabilities: Iterable[int]) -> None:
    mask = sum(1 << each for each in capabilities)
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    _checked(libc.capset(header, struct.pack("6I", low, low, 0, high, high, 0)))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class _Program(ctypes.Structure):
    """A filter, as the kernel takes it (struct sock_fprog)."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _filter(libc: ctypes.CDLL, *tables: str) -> bool:
    """Refuse all system calls that are not in these tables; return whether how is known of this processor."""
    architecture = _ARCHITECTURES.get(platform.machine())
    if architecture is None or struct.calcsize("P") != 8:
        return False
    code = b"".join(_INSTRUCTION.pack(*each) for each in program(architecture, numbers(architecture, *tables)))
    made = _Program(len(code) // _INSTRUCTION.size, code)
    _checked(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(made), 0, 0))
    return True


def program(architecture: Architecture, allowed: Mapping[str, int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield a filter that refuses all system calls but `allowed`, and of these, to open a file for writing."""
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _IF_EQUAL, 1, 0, architecture.audit
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    yield _IF_AT_LEAST, 0, 1, _X32
    yield _RETURN, 0, 0, _REFUSE
    for name, number in allowed.items():
        if name in _FLAGS_AT:
            yield _IF_EQUAL, 0, 4, number
            yield _LOAD, 0, 0, _FLAGS_AT[name]
            yield _IF_ANY_BIT, 0, 1, _WRITING
            yield _RETURN, 0, 0, _REFUSE
        else:
            yield _IF_EQUAL, 0, 1, number
        yield _RETURN, 0, 0, _ALLOW
    yield _RETURN, 0, 0, _REFUSE


def other_user() -> tuple[int, int]:
    """Return user and group that the reader takes on: its own where the host has one, else nobody's."""
    import pwd  # noqa: PLC0415 (a reader that is under way looks nobody up)

    for name in (READER, "nobody"):
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            return found.pw_uid, found.pw_gid
    return 65534, 65534
