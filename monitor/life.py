"""One daemon for each state directory, and what it knows of those before it: a lock, and a list of short lives."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from config.text import printable
from config.vocabulary import Code
from probes.finding import Finding, finding

log = logging.getLogger("certvigil.daemon")

ALREADY_RUNNING: Final = 78
"""Exit code where another daemon has the state directory: EX_CONFIG, after which the units start nothing again."""
SHORT: Final = 60.0
"""Seconds after which a start has succeeded."""
WINDOW: Final = 600.0
"""Seconds for which a short life is held against its followers."""
TOO_MANY: Final = 3
"""Short lives within `WINDOW`."""

_LOCK: Final = "daemon.lock"
_STARTS: Final = "starts.json"
_MOST: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Taken:
    """Another daemon has the state directory."""

    directory: str
    holder: str
    """Who that is; hostile text, as far as the directory is not ours."""

    def __str__(self) -> str:
        return f"another certvigil, {self.holder}, has the state directory {printable(self.directory)}: this one ends"


class Life:
    """The life of one daemon, from `begin` on."""

    def __init__(self, directory: str, started: float, deaths: tuple[float, ...], descriptor: int | None) -> None:
        self._directory = directory
        self._started = started
        self._deaths = deaths
        self._descriptor = descriptor
        self._lasted = False

    def findings(self, now: float) -> tuple[Finding, ...]:
        """Return that the daemons before this one died soon, while that is not long ago for this one."""
        if len(self._deaths) < TOO_MANY or now - self._started > WINDOW:
            return ()
        detail = (
            f"certvigil ended {len(self._deaths)} times within a minute of its start, without being asked to, in the "
            f"ten minutes before this start; its log says why"
        )
        return (finding(Code.DAEMON_UNSTABLE, detail),)

    def go_on(self, now: float) -> None:
        """Note at Unix time `now` that this daemon still runs; does I/O once it has lasted."""
        if not self._lasted and now - self._started > SHORT:
            self.end_well()

    def end_well(self) -> None:
        """Note that this life is none of the short ones."""
        if not self._lasted and self._descriptor is not None:
            self._lasted = True
            _write(self._directory, self._deaths)


def begin(directory: str, now: float) -> Life | Taken:
    """Take the state directory for this process, as long as it lives, and read how the daemons before it fared.

    Where it cannot be written to, nothing is locked or noted: the database has more to say about that.
    """
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        # A lock of the process: unlike flock(2), whoever is forked does not hold it as well.
        descriptor = os.open(
            os.path.join(directory, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except OSError as error:
        log.warning("cannot lock the state directory %s: %s", printable(directory), error.strerror)
        return Life(directory, now, (), None)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = printable(os.pread(descriptor, 200, 0).decode(errors="replace").strip(), 200)
        os.close(descriptor)
        return Taken(directory, holder or "of which nothing more is known")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    deaths = tuple(each for each in _read(directory) if 0 <= now - each <= WINDOW)
    _write(directory, (*deaths, now))
    return Life(directory, now, deaths, descriptor)


def _read(directory: str) -> tuple[float, ...]:
    try:
        with open(os.path.join(directory, _STARTS), encoding="utf-8") as file:
            starts = json.loads(file.read(_MOST))
    except (OSError, ValueError, RecursionError):
        return ()
    return tuple(float(each) for each in starts if isinstance(each, int | float)) if isinstance(starts, list) else ()


def _write(directory: str, starts: tuple[float, ...]) -> None:
    path = os.path.join(directory, _STARTS)
    with suppress(OSError):
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(starts, file)
        os.rename(f"{path}.new", path)
