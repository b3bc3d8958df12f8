"""What all processes of a session cost, as the kernel counts it: proc(5)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

_TICK: Final = os.sysconf("SC_CLK_TCK")


def cpu_of_session(leader: int) -> float:
    """Return the seconds of processor time of all that is in the session of `leader`, and of all that it reaped."""
    # utime, stime, cutime and cstime.
    return sum(sum(map(int, fields[11:15])) for _, fields in _members(leader)) / _TICK


def pss_of_session(leader: int) -> float:
    """Return the memory of all that is in the session, in MB of 2**20 bytes; shared pages count in shares."""
    total = 0
    for pid, _ in _members(leader):
        with (
            suppress(FileNotFoundError, ProcessLookupError),
            open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file,
        ):
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total / 1024


def _members(leader: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each process of the session or started by one of them, with its fields from `state` on."""
    found: dict[int, list[str]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError), open(f"/proc/{name}/stat", encoding="ascii") as stat:
                found[int(name)] = stat.read().rpartition(")")[2].split()
    ours = {pid for pid, fields in found.items() if int(fields[3]) == leader}
    while more := {pid for pid, fields in found.items() if int(fields[1]) in ours} - ours:
        # A process for deliveries has a session of its own.
        ours |= more
    yield from ((pid, found[pid]) for pid in ours)
