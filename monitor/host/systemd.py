"""systemd: the readiness protocol, sd_notify(3), datagrams to the socket named in the environment; and its units."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Sequence
from typing import Final

RUNS: Final = "/run/systemd/system"
"""A directory that is there where systemd runs, sd_booted(3)."""
_PATIENCE: Final = 5.0


def notify(*lines: str) -> None:
    """Tell the service manager each `NAME=value` line; without one nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as datagrams:
        try:
            datagrams.sendto("\n".join(lines).encode(), address)
        except OSError:
            return


def reloading() -> None:
    """Tell that a reload begins (`Type=notify-reload` compares the time)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_interval() -> float | None:
    """Return the seconds between two signs of life, half of the manager's time limit; None where there is none."""
    limit = os.environ.get("WATCHDOG_USEC", "")
    for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(limit) / 2e6 if limit.isdigit() and int(limit) > 0 and for_us else None


def lacks_unit(state: Sequence[str], runs: str = RUNS) -> bool:
    """Whether systemd runs and does not know a unit, by the command that shows the unit's LoadState."""
    if not os.path.isdir(runs):
        return False
    try:
        ran = subprocess.run(state, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return "LoadState=not-found" in ran.stdout.splitlines()
