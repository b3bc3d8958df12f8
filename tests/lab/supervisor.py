"""A service manager for one service, faithful to systemd in what a transaction meets.

`supervisor.py run DIRECTORY COMMAND...` starts the service again whenever it ends, until it has been started too often;
`supervisor.py ask DIRECTORY VERB...` does what systemctl does: a restart succeeds as soon as there is a process, one of
a service that was given up fails until `reset-failed`, and `show` names the process.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from monitor.lab.process import Process, accepts

_BURST: Final = 5
"""Starts within `_INTERVAL` after which it gives up: StartLimitBurst."""
_INTERVAL: Final = 10.0
_POLL: Final = 0.02


class Supervisor:
    """Runs a command as a service inside the `with` block, which begins once it accepts connections."""

    def __init__(self, directory: str, command: Sequence[str], address: tuple[str, int]) -> None:
        self.directory = directory
        self.systemctl = os.path.join(directory, "systemctl")
        self._command = tuple(command)
        self._address = address

    def __enter__(self) -> Supervisor:
        os.makedirs(self.directory)
        ask = f'exec "{sys.executable}" "{__file__}" ask "{self.directory}" "$@"\n'
        with open(self.systemctl, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{ask}")
        os.chmod(self.systemctl, 0o755)
        program = (sys.executable, __file__, "run", self.directory, *self._command)
        self._process = Process(program, os.path.join(self.directory, "log"))
        try:
            self._process.wait_until(lambda: accepts(*self._address), "accepting connections")
        except BaseException:
            self._process.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()


@dataclass(slots=True)
class _Service:
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)
    gave_up: bool = False

    def start(self) -> str:
        now = time.monotonic()
        self.starts = [each for each in self.starts if each > now - _INTERVAL]
        if len(self.starts) >= _BURST:
            self.gave_up = True
        if self.gave_up:
            return "1 Job for web.service failed. Start request repeated too quickly."
        self.starts.append(now)
        self.process = subprocess.Popen(self.command)
        return "0 "

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def revive(self) -> None:
        if self.process is not None and self.process.poll() is not None:
            self.process = None
            self.start()

    def answer(self, verb: str) -> str:
        match verb:
            case "restart":
                self.stop()
                return self.start()
            case "reset-failed":
                self.gave_up = False
                self.starts.clear()
                return "0 "
            case "show":
                return f"0 MainPID={self.process.pid if self.process else 0}"
        return f"1 Unknown command verb {verb}."


def run(directory: str, command: Sequence[str]) -> None:
    """Supervise until killed."""
    service = _Service(command)
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
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("control")
        connection.sendall(verb.encode())
        status, _, said = connection.recv(1000).decode().partition(" ")
    sys.stdout.write(said)
    return int(status)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(sys.argv[2], sys.argv[3:])
    sys.exit(ask(sys.argv[2], sys.argv[3]))
