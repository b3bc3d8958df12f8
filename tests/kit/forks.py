"""Commands of certvigil without their start: `python -m tests.kit.forks SOCKET` has loaded all of them.

Each is a process of its own that does what `certvigil` does with its arguments, forked off instead of started anew,
which takes a tenth of the time. Whoever connects sends arguments, environment and directory as JSON with the
descriptors of its output and errors, is told the process id, and once it has ended, how, each as a line.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import importlib.util
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final, Protocol

# What the commands load only when they are called.
import monitor.actor.server
import monitor.commands
import monitor.daemon
import monitor.main
from monitor.lab.process import wait_for

_LONG: Final = 262_144
_PR_SET_PDEATHSIG: Final = 1


class Child(Protocol):
    """A process that was started: what `subprocess.Popen` is, too."""

    pid: int

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended; raises TimeoutExpired."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal, unless it has ended."""

    def kill(self) -> None:
        """End it at once."""


class Forked:
    """A command that was forked off from the process that listens at an address."""

    def __init__(
        self,
        address: str,
        arguments: Sequence[str],
        output: int,
        errors: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._code: int | None = None
        self._turn = threading.RLock()
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address)
        given = {
            "arguments": list(arguments),
            "environment": dict(os.environ if environment is None else environment),
            "directory": os.getcwd(),
        }
        descriptors = array.array("i", [output, output if errors is None else errors])
        data = json.dumps(given).encode() + b"\n"
        sent = self._connection.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        self._connection.sendall(data[sent:])
        self._said = b""
        while b"\n" not in self._said:
            self._said += self._connection.recv(100)
        self.pid = int(self._said.split(b"\n")[0])

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended; raises TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._turn:
            while self._code is None:
                # No time at all would mean to a socket that it does not block, which is another error.
                self._connection.settimeout(None if end is None else max(0.000_001, end - time.monotonic()))
                try:
                    new = self._connection.recv(100)
                except (TimeoutError, BlockingIOError):
                    raise subprocess.TimeoutExpired("certvigil", timeout or 0.0) from None
                self._said += new
                if not new or self._said.count(b"\n") == 2:
                    self._code = int(self._said.split(b"\n")[1] or -signal.SIGKILL)
                    self._connection.close()
            return self._code

    def send_signal(self, sig: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Parent:
    """The process from which commands are forked; it ends with whoever started it."""

    def __init__(self) -> None:
        """Start it; return once it listens."""
        self._directory = tempfile.mkdtemp(prefix="cv-forks-")
        self.address = os.path.join(self._directory, "socket")
        command = [sys.executable, "-m", "tests.kit.forks", self.address]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
        wait_for(lambda: os.path.exists(self.address), 180.0, "what commands are forked from")

    def close(self) -> None:
        """End it, and all that were forked from it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        with suppress(OSError):
            os.unlink(self.address)
            os.rmdir(self._directory)


@cache
def parent() -> Parent:
    """Return the parent of all that this process has forked off."""
    made = Parent()
    atexit.register(made.close)
    return made


def end_with_parent() -> None:
    """Have this process be killed once the one that started it has ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _load() -> None:
    for package in (monitor.commands, monitor.actor):
        for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            # Its import is what it is there to do.
            if each.name != "monitor.actor.reading":
                importlib.import_module(each.name)


def main(address: str) -> None:
    """Fork until standard input ends."""
    _load()
    # Whoever is forked twice is nobody's to wait for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    listener.listen(64)
    os.rename(f"{address}.new", address)
    while True:
        if _has_ended(listener):
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            given = _attend(connection)
            break
        connection.close()
    sys.argv = ["certvigil", *given["arguments"]]
    monitor.main.main()


def _has_ended(listener: socket.socket) -> bool:
    """Wait for a connection; whether standard input ended before."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(listener, select.POLLIN)
    return any(descriptor == 0 for descriptor, _ in poll.poll())


def _attend(connection: socket.socket) -> Any:
    """Fork once more, and return there what is asked for; here, never return."""
    end_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, rights, _, _ = connection.recvmsg(_LONG, socket.CMSG_SPACE(8))
    while not data.endswith(b"\n"):
        data += connection.recv(_LONG)
    output, errors = array.array("i", rights[0][2])
    child = os.fork()
    if child == 0:
        end_with_parent()
        connection.close()
        given = json.loads(data)
        _become(given, output, errors)
        return given
    os.close(output)
    os.close(errors)
    with suppress(OSError):
        connection.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    with suppress(OSError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(given: Mapping[str, Any], output: int, errors: int) -> None:
    """Take on the surroundings of whoever asked."""
    null = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((null, output, errors)):
        os.dup2(descriptor, number)
    for descriptor in (null, output, errors):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(given["environment"])
    os.chdir(given["directory"])
    # As `python -m monitor.main` has it.
    sys.modules["__main__"].__spec__ = importlib.util.find_spec("monitor.main")


if __name__ == "__main__":
    main(sys.argv[1])
