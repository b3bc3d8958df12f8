"""One daemon for each state directory, and its record of earlier daemons: a lock, and a list of short lives."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import stat
import time
from contextlib import suppress
from typing import Final

from config.immutable import immutable
from config.text import Log, printable, sentence
from config.vocabulary import Code
from probes.finding import Finding, finding

log: Log = logging.getLogger("certvigil.daemon")

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
_ATTEMPTS: Final = 5
_PAUSE: Final = 0.1
"""Seconds between two attempts."""


@immutable
class StateTaken:
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
        detail = sentence(
            "certvigil ended {} times within a minute of its start, without being asked to, in the "
            "ten minutes before this start; its log says why",
            len(self._deaths),
        )
        return (finding(Code.DAEMON_UNSTABLE, detail),)

    def go_on(self, now: float) -> None:
        """Note at Unix time `now` that this daemon still runs; does I/O once it has lasted."""
        if not self._lasted and now - self._started > SHORT:
            self.end_well()

    def end_well(self) -> None:
        """Note that this life is not a short one."""
        if not self._lasted and self._descriptor is not None:
            self._lasted = True
            _write(self._directory, self._deaths)

    def give_back(self) -> None:
        """Let another daemon have the state directory; this life notes nothing any more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def begin(directory: str, now: float) -> Life | StateTaken:
    """Take the state directory for this process, as long as it lives, and read how the daemons before it fared.

    Where it cannot be written to, nothing is locked or noted: the database has more to say about that.
    """
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        descriptor = _open_regular(os.path.join(directory, _LOCK), os.O_RDWR | os.O_CREAT)
    except OSError as error:
        log.warning("cannot lock the state directory %s: %s", printable(directory), printable(str(error.strerror)))
        return Life(directory, now, (), None)
    if not _lock(descriptor):
        holder = printable(os.pread(descriptor, 200, 0).decode(errors="replace").strip(), 200)
        os.close(descriptor)
        return StateTaken(directory, holder or "of which nothing more is known")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    deaths = tuple(each for each in _read(directory) if 0 <= now - each <= WINDOW)
    _write(directory, (*deaths, now))
    return Life(directory, now, deaths, descriptor)


def own_files(directory: str) -> tuple[str, ...]:
    """Return the paths of the files that `begin` keeps in a state directory."""
    return tuple(os.path.join(directory, name) for name in (_LOCK, _STARTS, f"{_STARTS}.new"))


def _lock(descriptor: int) -> bool:
    """Lock the opened directory, for as long as it is open: no other descriptor of the file has a say in it.

    Helpers, which were forked, hold it too, until they end with the daemon that was killed: that takes a moment.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def _open_regular(path: str, flags: int) -> int:
    """Return a descriptor of the regular file at `path` itself; raises OSError."""
    careful = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(path, flags | careful, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is not a regular file")


def _read(directory: str) -> tuple[float, ...]:
    """Return the starts that are noted; none where anything about the file is wrong, whoever made it so."""
    try:
        with open(_open_regular(os.path.join(directory, _STARTS), os.O_RDONLY), "rb") as file:
            return _times(file.read(_MOST + 1))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        log.warning("earlier starts are not known, %s is of no use: %s", printable(_STARTS), printable(str(error), 200))
        return ()


def _times(data: bytes) -> tuple[float, ...]:
    """Return the Unix times that `data` lists; raises ValueError, OverflowError, RecursionError."""
    if len(data) > _MOST:
        raise ValueError(f"it is larger than {_MOST} bytes")
    starts = json.loads(data)
    if not isinstance(starts, list) or not all(type(each) in {int, float} for each in starts):
        raise ValueError("it is not a list of times")
    return tuple(float(each) for each in starts)


def _write(directory: str, starts: tuple[float, ...]) -> None:
    path = os.path.join(directory, _STARTS)
    with suppress(OSError):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(f"{path}.new", flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(starts, file)
        os.rename(f"{path}.new", path)
