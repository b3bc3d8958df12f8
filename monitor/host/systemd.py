"""systemd: the readiness protocol, sd_notify(3), datagrams to the socket named in the environment; and its units."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Final

RUNS: Final = "/run/systemd/system"
"""A directory that is there where systemd runs, sd_booted(3)."""
_PATIENCE: Final = 5.0
_AT_MOST: Final = 600.0
"""Seconds for which a unit is believed to be starting, whatever its own time limit."""
_READY_AT: Final = frozenset({"notify", "notify-reload", "forking", "dbus"})
"""Types of units that are active once the service is ready; of the others it is only begun then."""
_SPAN: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([a-z]{1,6})")
_SECONDS: Final[Mapping[str, float]] = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
}


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
    return _shown(state, runs).get("LoadState") == "not-found"


def starting_for(progress: Sequence[str], dark_for: float, ready: float, runs: str | None = None) -> float:
    """Return for how many seconds more a unit may be on its way to answer; 0 where it is not, or nobody knows.

    `progress` is the command that shows its `config.service.PROGRESS`. A unit that starts, stops or reloads has its own
    time limit for that, from its beginning, and from when nobody answered, `dark_for` seconds ago: somebody may start
    it again and again. One that is active and says so once it is ready has `ready` seconds more. One that systemd has
    started again by itself did not stay: its fault is no start.
    """
    begun, limit = _begun(_shown(progress, RUNS if runs is None else runs), ready)
    return max(0.0, min(begun + limit - time.monotonic(), limit - dark_for))


def runs() -> bool:
    """Whether systemd runs on this host, as sd_booted(3) finds it."""
    return os.path.isdir(RUNS)


def _shown(command: Sequence[str], runs: str) -> Mapping[str, str]:
    """Return the properties that `systemctl show` prints; none where systemd does not run, or does not answer."""
    if not os.path.isdir(runs):
        return {}
    try:
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {}
    pairs = (each.partition("=") for each in ran.stdout.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def _begun(shown: Mapping[str, str], ready: float) -> tuple[float, float]:
    """Return the monotonic time since when a unit is on its way, and its time limit; no time where it is not."""
    start, stop = (_limit(shown.get(each, "")) for each in ("TimeoutStartUSec", "TimeoutStopUSec"))
    state, again = shown.get("ActiveState"), shown.get("NRestarts", "0") != "0"
    if state == "reloading":
        since, limit = "StateChangeTimestampMonotonic", start
    elif again or shown.get("SubState", "").startswith("auto-restart"):
        return 0.0, 0.0
    elif state == "deactivating":
        since, limit = "StateChangeTimestampMonotonic", stop
    elif state == "activating" or (state == "active" and shown.get("Type") not in _READY_AT):
        since, limit = "InactiveExitTimestampMonotonic", start
    elif state == "active":
        since, limit = "ActiveEnterTimestampMonotonic", min(start, ready)
    else:
        return 0.0, 0.0
    at = shown.get(since, "")
    return (int(at) / 1e6, limit) if at.isdecimal() and int(at) else (0.0, 0.0)


def _limit(span: str) -> float:
    """Return the seconds of a time span as systemd prints it, such as `1min 30s`, systemd.time(7)."""
    if span == "infinity":
        return _AT_MOST
    seconds = sum(float(number) * _SECONDS.get(unit, _AT_MOST) for number, unit in _SPAN.findall(span))
    return min(seconds, _AT_MOST)
