"""Commands of certvigil without their start: they are forked off from a process that has loaded all of them.

Each is a process of its own that does what `certvigil` does with its arguments, forked off instead of started anew,
which takes a tenth of the time; `tests.kit.fork_server` is what they are forked from.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache
from typing import IO, Any, Final, NamedTuple, Protocol, Self

from monitor.lab.process import wait_for

_SHARED: Final = "CERTVIGIL_TESTS_FORKS"
"""The variable of the environment that holds the address of a parent that was started before."""


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


class Start(NamedTuple):
    """What else may be said of a process that is forked off."""

    module: str = "monitor.main"
    directory: str = ""
    """By default that of whoever asks."""
    session: bool = False
    """Whether it leads a session of its own."""
    input: int = -1
    """A descriptor; by default nothing."""
    user: tuple[int, int] | None = None
    """Its user and group, of which only root may name others than its own; it is in no other group, then."""


class Forked:
    """A command that was forked off from the process that listens at an address."""

    def __init__(
        self,
        address: str,
        arguments: Sequence[str],
        output: int,
        errors: int | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        start: Start | None = None,
    ) -> None:
        self._code: int | None = None
        self._turn = threading.RLock()
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address)
        start = start or Start()
        given = {
            "module": start.module,
            "arguments": list(arguments),
            "environment": dict(os.environ if environment is None else environment),
            "directory": start.directory or os.getcwd(),
            "session": start.session,
            "user": start.user,
        }
        with open(os.devnull, "rb") as nothing:
            descriptors = array.array(
                "i",
                [nothing.fileno() if start.input < 0 else start.input, output, output if errors is None else errors],
            )
            self._send(json.dumps(given).encode() + b"\n", descriptors)
        self._said = b""
        while b"\n" not in self._said:
            more = self._connection.recv(100)
            if not more:
                raise ConnectionError("what commands are forked from has ended")
            self._said += more
        self.pid = int(self._said.split(b"\n")[0])

    def _send(self, data: bytes, descriptors: array.array[int]) -> None:
        sent = self._connection.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        self._connection.sendall(data[sent:])

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

    @property
    def returncode(self) -> int | None:
        """Its exit code where it is known to have ended."""
        return self._code

    def send_signal(self, sig: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Piped(Forked):
    """A command that was forked off, with pipes: what `subprocess.Popen` is, as far as it is used here."""

    def __init__(
        self,
        address: str,
        module: str,
        arguments: Sequence[str],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        bufsize: int = -1,
        text: bool = False,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        start_new_session: bool = False,
    ) -> None:
        """Start it; without a `stdin` it has nothing to read."""
        with ExitStack() as theirs:
            reading, self.stdin = _end_of(stdin, os.devnull, bufsize, text, theirs, writes=True)
            output, self.stdout = _end_of(stdout, 1, bufsize, text, theirs)
            errors, self.stderr = (
                (output, None) if stderr == subprocess.STDOUT else _end_of(stderr, 2, bufsize, text, theirs)
            )
            start = Start(module, cwd, start_new_session, reading)
            super().__init__(address, arguments, output, errors, env, start=start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self.stdin, self.stdout, self.stderr):
            if each is not None:
                each.close()
        self.wait()

    def communicate(self, given: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Write what is given, and return all output and errors once it has ended; raises TimeoutExpired."""
        with ThreadPoolExecutor(2) as readers:
            read = [readers.submit(each.read) if each is not None else None for each in (self.stdout, self.stderr)]
            if self.stdin is not None:
                self.stdin.write(given or type(given)())
                self.stdin.close()
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            output, errors = (each.result() if each is not None else None for each in read)
            return output, errors


def _end_of(
    asked: int | None, otherwise: int | str, size: int, text: bool, theirs: ExitStack, *, writes: bool = False
) -> tuple[int, IO[Any] | None]:
    """Return the descriptor for a process that is started, closed with `theirs`, and our end where it is a pipe."""
    if asked == subprocess.PIPE:
        read, write = os.pipe()
        its, our, mode = (read, write, "w") if writes else (write, read, "r")
        theirs.callback(os.close, its)
        return its, open(our, mode) if text else open(our, f"{mode}b", size)
    opened = {subprocess.DEVNULL: os.devnull, None: otherwise}.get(asked, asked)
    if isinstance(opened, str):
        opened = os.open(opened, os.O_RDWR)
        theirs.callback(os.close, opened)
    assert opened is not None
    return opened, None


class Parent:
    """The process from which commands are forked; it ends with whoever started it."""

    def __init__(self, module: str = "tests.kit.fork_server", *options: str) -> None:
        """Start it; it listens at `address` a little later."""
        self._directory = tempfile.mkdtemp(prefix="cv-forks-")
        os.chmod(self._directory, 0o711)
        self.address = os.path.join(self._directory, "socket")
        command = [sys.executable, "-m", module, self.address, *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
        atexit.register(self.close)

    def close(self) -> None:
        """End it, and all that were forked from it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        with suppress(OSError):
            os.unlink(self.address)
            os.rmdir(self._directory)


def share() -> None:
    """Start the parent of all that this process and those below it fork off."""
    os.environ[_SHARED] = Parent().address


@cache
def parent() -> str:
    """Return the address of the parent of all that this process forks off, where it listens."""
    address = os.environ.get(_SHARED) or Parent().address
    wait_for(lambda: os.path.exists(address), 180.0, "what commands are forked from")
    return address
