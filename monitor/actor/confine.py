"""Giving up rights for good: what is left is to read files and to answer over a descriptor that is open already.

A process that has given them up can be made to do nothing else, whatever takes it over: it may be led astray by what it
reads, which is why it is one of its own.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

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
"""And of the lower half of the argument that says what a file is opened for."""
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_REFUSE: Final = 0x00050000 | errno.EPERM
_X32: Final = 0x40000000


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of processor: how the kernel calls it, and its numbers of system calls."""

    architecture: int
    numbers: dict[str, int]


_X86_64: Final = Machine(
    0xC000003E,
    {
        **{"read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9, "mprotect": 10},
        **{"munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17},
        **{"readv": 19, "writev": 20, "sched_yield": 24, "mremap": 25, "madvise": 28, "dup": 32, "nanosleep": 35},
        **{"getpid": 39, "exit": 60, "uname": 63, "fcntl": 72, "gettimeofday": 96, "sysinfo": 99, "getuid": 102},
        **{"getgid": 104, "geteuid": 107, "getegid": 108, "sigaltstack": 131, "gettid": 186, "time": 201},
        **{"futex": 202, "getdents64": 217, "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229},
        **{"clock_nanosleep": 230, "exit_group": 231, "openat": 257, "newfstatat": 262, "readlinkat": 267},
        **{"set_robust_list": 273, "getrandom": 318, "statx": 332, "rseq": 334},
        # By which older and other C libraries do the same.
        **{"open": 2, "stat": 4, "lstat": 6, "access": 21, "readlink": 89},
        # For the one that begins those who read.
        **{"pipe2": 293, "clone": 56, "clone3": 435, "fork": 57, "vfork": 58, "wait4": 61, "waitid": 247, "kill": 62},
        **{"prctl": 157, "prlimit64": 302, "setrlimit": 160, "getrlimit": 97, "getppid": 110, "ppoll": 271},
        **{"dup2": 33, "dup3": 292, "close_range": 436},
    },
)
_AARCH64: Final = Machine(
    0xC00000B7,
    {
        **{"read": 63, "write": 64, "close": 57, "fstat": 80, "ppoll": 73, "lseek": 62, "mmap": 222, "mprotect": 226},
        **{"munmap": 215, "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "pread64": 67},
        **{"readv": 65, "writev": 66, "sched_yield": 124, "mremap": 216, "madvise": 233, "dup": 23, "nanosleep": 101},
        **{"getpid": 172, "exit": 93, "uname": 160, "fcntl": 25, "gettimeofday": 169, "sysinfo": 179, "getuid": 174},
        **{"getgid": 176, "geteuid": 175, "getegid": 177, "sigaltstack": 132, "gettid": 178},
        **{"futex": 98, "getdents64": 61, "restart_syscall": 128, "clock_gettime": 113, "clock_getres": 114},
        **{"clock_nanosleep": 115, "exit_group": 94, "openat": 56, "newfstatat": 79, "readlinkat": 78},
        **{"set_robust_list": 99, "getrandom": 278, "statx": 291, "rseq": 293},
        **{"pipe2": 59, "clone": 220, "clone3": 435, "wait4": 260, "waitid": 95, "kill": 129},
        **{"prctl": 167, "prlimit64": 261, "setrlimit": 164, "getrlimit": 163, "getppid": 173},
        **{"dup3": 24, "close_range": 436},
    },
)
_MACHINES: Final = {"x86_64": _X86_64, "aarch64": _AARCH64}
_FORKING: Final = frozenset(
    {
        *("pipe2", "clone", "clone3", "fork", "vfork", "wait4", "waitid", "kill", "prctl", "prlimit64", "setrlimit"),
        *("getrlimit", "getppid", "dup2", "dup3", "close_range"),
    }
)
_READING: Final = frozenset((*_X86_64.numbers, *_AARCH64.numbers)) - _FORKING


@dataclass(frozen=True, slots=True)
class Limits:
    """What one reading may take."""

    cpu: int = 10
    """Seconds."""
    memory: int = 1 << 30
    """Bytes of address space."""
    files: int = 512
    """Descriptors."""


def renounce(user: int, group: int) -> tuple[str, ...]:
    """Keep the right to read any file, as another user, and give up all others; return what could not be given up.

    Where this process is not root, it keeps what it has and gives up what it can. Afterwards it still may begin other
    processes. Raises OSError where what root could do is left.
    """
    left: list[str] = []
    libc = ctypes.CDLL(None, use_errno=True)
    os.nice(5)
    if os.geteuid() == 0:
        # Where systemd or a container forbids new namespaces, the filter below is what keeps it from the network.
        libc.unshare(_CLONE_NEWNET | _CLONE_NEWIPC)
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
            left.append("it may not read what belongs to others, since CAP_DAC_READ_SEARCH is missing")
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))
    for each in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
        resource.setrlimit(each, (0, 0))
    if not _filter(libc, _READING | _FORKING):
        left.append("system calls are not filtered on this kind of processor")
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
    if permitted >> CAP_DAC_OVERRIDE & 1 and platform.machine() in _MACHINES:
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


def _filter(libc: ctypes.CDLL, allowed: Iterable[str]) -> bool:
    """Refuse all other system calls from now on; return whether that is known to work here."""
    machine = _MACHINES.get(platform.machine())
    if machine is None or struct.calcsize("P") != 8:
        return False
    code = b"".join(_INSTRUCTION.pack(*each) for each in program(machine, allowed))
    made = _Program(len(code) // _INSTRUCTION.size, code)
    _checked(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(made), 0, 0))
    return True


def program(machine: Machine, allowed: Iterable[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield a filter that refuses all system calls but `allowed`, and of these, to open a file for writing."""
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _IF_EQUAL, 1, 0, machine.architecture
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    yield _IF_AT_LEAST, 0, 1, _X32
    yield _RETURN, 0, 0, _REFUSE
    numbers = {name: machine.numbers[name] for name in sorted(allowed) if name in machine.numbers}
    for name, number in numbers.items():
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

    for name in ("certvigil-reader", "nobody"):
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            return found.pw_uid, found.pw_gid
    return 65534, 65534
