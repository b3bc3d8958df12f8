"""The program of a service manager for one service, which `tests.kit.supervisor` starts.

`supervising.py run DIRECTORY COMMAND...` starts the service again whenever it ends, until that was too often, and with
`once` leaves it to whoever asks. `supervising.py ask DIRECTORY VERB...` does what systemctl does: a restart succeeds as
soon as there is a process, one of a service that was given up fails until `reset-failed`, and `show` names the process,
or the state where that is asked for. Where `DIRECTORY/delay` is a file, it first takes as many seconds as that says;
which verb was asked for when (Unix time) is added to `DIRECTORY/asked`.

It is asked at each look, so it loads little.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import subprocess

_BURST: Final = 5
"""Starts within `_INTERVAL` after which it gives up: StartLimitBurst."""
_INTERVAL: Final = 10.0
_POLL: Final = 0.02


class _Service:
    def __init__(self, command: Sequence[str], *, restarts: bool) -> None:
        self.command, self.restarts = command, restarts
        self.process: subprocess.Popen[bytes] | None = None
        self.starts: list[float] = []
        self.gave_up = False
        self.ended_badly = False

    def start(self) -> str:
        import subprocess

        now = time.monotonic()
        self.starts = [each for each in self.starts if each > now - _INTERVAL]
        if self.restarts and len(self.starts) >= _BURST:
            self.gave_up = True
        if self.gave_up:
            return "1 Job for web.service failed. Start request repeated too quickly."
        self.starts.append(now)
        self.process, self.ended_badly = subprocess.Popen(self.command), False
        return "0 "

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def revive(self) -> None:
        if self.process is not None and self.process.poll() is not None:
            self.ended_badly = self.process.poll() != 0
            self.process = None
            if self.restarts:
                self.start()

    def reload(self) -> str:
        if self.process is None:
            return "1 The service is not active, cannot reload."
        self.process.send_signal(signal.SIGHUP)
        return "0 "

    @property
    def active_state(self) -> str:
        """The state as systemd names it: one that is started again is not given up."""
        if self.gave_up or (self.process is None and self.ended_badly):
            return "failed"
        if self.process is None:
            return "inactive"
        return "active" if self.process.poll() is None else "activating"

    def answer(self, verb: str) -> str:
        match verb:
            case "restart":
                self.stop()
                return self.start()
            case "start":
                return "0 " if self.process is not None else self.start()
            case "stop":
                self.stop()
                return "0 "
            case "reload":
                return self.reload()
            case "reset-failed":
                self.gave_up = self.ended_badly = False
                self.starts.clear()
                return "0 "
            case "ActiveState":
                return f"0 LoadState=loaded\nUnitFileState=enabled\nActiveState={self.active_state}"
            case "show":
                return f"0 MainPID={self.process.pid if self.process else 0}"
        return f"1 Unknown command verb {verb}."


def run(directory: str, command: Sequence[str], *, restarts: bool) -> None:
    """Supervise until killed."""
    service = _Service(command, restarts=restarts)
    service.start()
    # The name of a socket may not be as long as that of a file.
    os.chdir(directory)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("control")
        listener.listen()
        listener.settimeout(_POLL)
        while True:
            service.revive()
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with closing(connection):
                connection.sendall(service.answer(connection.recv(100).decode()).encode())


def ask(directory: str, verb: str) -> int:
    """Have the supervisor do something; returns the exit status."""
    os.chdir(directory)
    with open("asked", "a", encoding="ascii") as asked:
        asked.write(f"{_began():.3f} {verb}\n")
    with suppress(FileNotFoundError), open("delay", encoding="ascii") as delay:
        time.sleep(float(delay.read()))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("control")
        connection.sendall(verb.encode())
        status, _, said = connection.recv(1000).decode().partition(" ")
    sys.stdout.write(said)
    return int(status)


def _began() -> float:
    """Return the Unix time at which this process was started, before it was Python."""
    with open("/proc/self/stat", encoding="ascii") as stat:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
    since = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - since


if __name__ == "__main__":
    if sys.argv[1] in {"run", "once"}:
        run(sys.argv[2], sys.argv[3:], restarts=sys.argv[1] == "run")
    asks_for_state = any("ActiveState" in each for each in sys.argv[4:])
    sys.exit(ask(sys.argv[2], "ActiveState" if asks_for_state else sys.argv[3]))
