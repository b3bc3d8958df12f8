"""Commands of certvigil without their start: `python -m tests.bench.unsafe.forks SOCKET` has loaded all of them.

Each is a process of its own that does what `certvigil` does with its arguments, forked off instead of started anew,
which takes a tenth of the time. Whoever connects sends the arguments as JSON with the descriptor of its output, is told
the process id, and once it has ended, how, each as a line.
"""

from __future__ import annotations

import array
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

# What the commands load only when they are called.
import monitor.actor.server
import monitor.commands.act
import monitor.commands.audit
import monitor.commands.run
import monitor.commands.status
import monitor.main
from monitor.lab.process import wait_for

_LONG: Final = 65_536
_PR_SET_PDEATHSIG: Final = 1


class Child(Protocol):
    """A process that was started: what `subprocess.Popen` is, too."""

    pid: int
    returncode: int

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended; raises TimeoutExpired."""


class Forked:
    """A command that was forked off."""

    def __init__(self, address: str, arguments: Sequence[str], output: int) -> None:
        self.returncode = 0
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [output]))]
        self._connection.sendmsg([json.dumps(list(arguments)).encode()], rights)
        self._said = b""
        while b"\n" not in self._said:
            self._said += self._connection.recv(100)
        self.pid = int(self._said.split(b"\n")[0])
        self._ended = False

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended; raises TimeoutExpired."""
        end = time.monotonic() + (timeout or 0.0)
        while not self._ended:
            left = None if timeout is None else max(0.0, end - time.monotonic())
            self._connection.settimeout(left if left is None or left else 0.000_001)
            try:
                new = self._connection.recv(100)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("certvigil", timeout or 0.0) from None
            self._said += new
            if not new or self._said.count(b"\n") == 2:
                self._ended = True
                self.returncode = int(self._said.split(b"\n")[1] or -signal.SIGKILL)
                self._connection.close()
        return self.returncode


def start(directory: str) -> tuple[str, subprocess.Popen[bytes]]:
    """Start the process from which commands are forked; returns its address once it listens, and the process."""
    address = os.path.join(directory, "forks.sock")
    command = [sys.executable, "-m", "tests.bench.unsafe.forks", address]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    wait_for(lambda: os.path.exists(address), 60.0, "what commands are forked from")
    return address, process


def _end_with_the_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(address: str) -> None:
    """Fork until killed."""
    _end_with_the_parent()
    # Whoever is forked twice is nobody's to wait for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen(16)
        os.rename(f"{address}.new", address)
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _attend(connection)
            connection.close()


def _attend(connection: socket.socket) -> None:
    """Run one command, and never return."""
    _end_with_the_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, rights, _, _ = connection.recvmsg(_LONG, socket.CMSG_SPACE(4))
    output = array.array("i", rights[0][2])[0]
    child = os.fork()
    if child == 0:
        connection.close()
        _end_with_the_parent()
        _become(json.loads(data), output)
    os.close(output)
    with suppress(OSError):
        connection.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    with suppress(OSError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(arguments: Sequence[str], output: int) -> None:
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    sys.argv = ["certvigil", *arguments]
    code = 1
    try:
        monitor.main.main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1 if error.code else 0
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
