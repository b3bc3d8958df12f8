"""Processes as /proc shows them: told from later processes with the same number, and ended with their session."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final, Self

from config.immutable import immutable

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_ENDED: Final = frozenset({"Z", "X", "x"})
"""States of a process that runs no more, in proc(5)."""
_LISTENS: Final = b"0A"
"""TCP_LISTEN of the kernel, as /proc/net/tcp spells it."""
_ROUNDS: Final = 100
_BETWEEN: Final = 0.01
"""Seconds between two looks whether the killed processes are gone: a second in all."""


@immutable
class ProcessId:
    """A process, told from earlier and later processes with the same number."""

    pid: int
    started: int
    """Clock ticks from the machine's start to its own (field 22 of /proc/PID/stat)."""
    boot: str
    """The kernel's name for this run of the machine."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Return the process of `to_json`; raises KeyError, TypeError or ValueError for anything else."""
        return cls(int(plain["pid"]), int(plain["started"]), str(plain["boot"]))


@immutable
class _Stat:
    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int


def identify(pid: int) -> ProcessId:
    """Return the process with this number now; raises OSError where there is none."""
    stat = _stat(pid)
    if stat is None:
        raise ProcessLookupError(pid)
    return ProcessId(pid, stat.started, boot())


def boot() -> str:
    """Return the kernel's name for this run of the machine; raises OSError."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def age(process: ProcessId) -> float | None:
    """Return the seconds since a process began, running or not; None where the machine was started since."""
    if process.boot != boot():
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.started / _TICKS


def runs(process: ProcessId) -> bool:
    """Whether a process still runs; a zombie does not, nor does another process with its number."""
    stat = _stat(process.pid)
    return stat is not None and stat.started == process.started and stat.state not in _ENDED and process.boot == boot()


def end_session(leader: int, *, spare_server: bool) -> bool:
    """Kill every process of the session and of the process group that `leader` leads; returns whether it still runs.

    With `spare_server`, processes that listen on a TCP port are left alone, with their descendants: they are a server
    by now. Processes with a session of their own are not killed. The caller knows that `leader` is the right process.
    """
    for _ in range(_ROUNDS):
        every = {each.pid: each for each in _everybody()}
        members = {each for each in every.values() if leader in (each.session, each.group)}
        spared = _with_descendants(filter(_is_server, members), every) if spare_server else frozenset[int]()
        doomed = [each for each in members if each.pid not in spared]
        if not doomed:
            return leader in spared
        for each in doomed:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each.pid, signal.SIGKILL)
        time.sleep(_BETWEEN)
    return False


def _stat(pid: int) -> _Stat | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name before it may contain parentheses and spaces.
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return _Stat(pid, fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def _everybody() -> Iterator[_Stat]:
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := _stat(int(name))) is not None and stat.state not in _ENDED:
            yield stat


def _with_descendants(roots: Iterable[_Stat], every: Mapping[int, _Stat]) -> frozenset[int]:
    found = {each.pid for each in roots}
    while more := {each.pid for each in every.values() if each.parent in found} - found:
        found |= more
    return frozenset(found)


def _is_server(process: _Stat) -> bool:
    """Whether a process listens on a TCP port; judged by its user where its descriptors cannot be read."""
    sockets, users = _listening(process.pid)
    directory = f"/proc/{process.pid}/fd"
    try:
        for each in os.listdir(directory):
            with suppress(FileNotFoundError):
                if os.readlink(f"{directory}/{each}") in sockets:
                    return True
    except PermissionError:
        with suppress(OSError):
            return os.stat(f"/proc/{process.pid}").st_uid in users
    except OSError:
        pass
    return False


def _listening(pid: int) -> tuple[frozenset[str], frozenset[int]]:
    """Return the listening sockets in the network of a process, as its descriptors name them, and their users."""
    sockets, users = set(), set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError), open(f"/proc/{pid}/net/{name}", "rb") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENS:
                    sockets.add(f"socket:[{fields[9].decode()}]")
                    users.add(int(fields[7]))
    return frozenset(sockets), frozenset(users)
